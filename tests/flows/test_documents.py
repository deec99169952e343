"""Documents over the native API: texts that are kept with a chat and given to the model."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.flows.office import Office

pytestmark = pytest.mark.asyncio(loop_scope="session")
UNKNOWN_ID = "01900000-0000-7000-8000-000000000000"
TEXT = "Größe: 🙂\r\n\tTabs and\u2028lines"


async def attach(office: Office, chat: Any, filename: str = "a.txt", text: str = TEXT, **fields: Any) -> Any:
    return await office.native(
        "POST", f"/chats/{chat['id']}/documents", filename=filename, text=text, **fields
    )


async def test_a_document_is_kept_byte_by_byte(office: Office) -> None:
    chat = await office.chat()
    document = await attach(office, chat, "Übersicht.md", content_type="text/markdown")
    raw = TEXT.encode()
    assert document == {
        "id": document["id"],
        "chat_id": chat["id"],
        "filename": "Übersicht.md",
        "content_type": "text/markdown",
        "size_bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "created_by": office.owner.principal_id,
        "created_at": document["created_at"],
    }
    read = await office.native("GET", f"/chats/{chat['id']}/documents/{document['id']}")
    assert read == {**document, "text": TEXT}
    assert (await office.native("GET", f"/chats/{chat['id']}/documents"))["items"] == [document]


async def test_documents_are_counted_listed_in_order_and_removed(office: Office) -> None:
    chat = await office.chat()
    path = f"/chats/{chat['id']}"
    made = [await attach(office, chat, name) for name in "cab"]
    assert (await office.native("GET", path + "/documents"))["items"] == made
    assert (await office.read(chat["id"]))["documents_count"] == 3
    await office.native("DELETE", f"{path}/documents/{made[0]['id']}")
    assert (await office.native("GET", path + "/documents"))["items"] == made[1:]
    assert (await office.read(chat["id"]))["documents_count"] == 2
    for method in ("GET", "DELETE"):
        problem = await office.refusal(404, method, f"{path}/documents/{made[0]['id']}")
        assert problem["detail"] == "Document not found."
    assert (await office.read(chat["id"]))["documents_count"] == 2


async def test_the_model_reads_all_of_them_in_order_until_they_are_removed(office: Office) -> None:
    chat = await office.chat()
    path = f"/chats/{chat['id']}"
    first, _ = (
        await attach(office, chat, "one", "first text"),
        await attach(office, chat, "two", "second text"),
    )
    await office.native("POST", path + "/generate", message="Hi")
    head = office.upstream.requests[-1]["messages"][0]
    assert head == {"role": "system", "content": "Document one:\nfirst text\n\nDocument two:\nsecond text"}
    await office.native("DELETE", f"{path}/documents/{first['id']}")
    await office.native("POST", path + "/generate", message="Hi")
    assert office.upstream.requests[-1]["messages"][0]["content"] == "Document two:\nsecond text"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"filename": ""}, "filename"),
    ({"filename": "x" * 201}, "filename"),
    ({"content_type": ""}, "content_type"),
    ({"content_type": "x" * 201}, "content_type"),
    ({"text": None}, "text"),
    ({"text": 5}, "text"),
    ({"size": 5}, "size"),
]


@pytest.mark.parametrize(("fields", "field"), REFUSED, ids=lambda value: str(value)[:30])
async def test_what_breaks_a_rule_is_refused(office: Office, fields: dict[str, Any], field: str) -> None:
    chat = await office.chat()
    body = {"filename": "a", "text": "b", **fields}
    assert (await office.refusal(422, "POST", f"/chats/{chat['id']}/documents", body=body))["field"] == field
    assert (await office.read(chat["id"]))["documents_count"] == 0


async def test_the_size_and_the_number_are_bounded(office: Office) -> None:
    chat = await office.chat()
    limits = office.system.limits
    longest = "x" * limits.json_string_bytes_max
    assert (await attach(office, chat, text=longest))["size_bytes"] == len(longest)
    await office.refusal(
        400, "POST", f"/chats/{chat['id']}/documents", body={"filename": "a", "text": longest + "x"}
    )
    for _ in range(limits.documents_per_chat_max - 1):
        await attach(office, chat, text="")
    problem = await office.refusal(
        422, "POST", f"/chats/{chat['id']}/documents", body={"filename": "a", "text": ""}
    )
    assert f"at most {limits.documents_per_chat_max} documents" in problem["detail"]
    assert (await office.read(chat["id"]))["documents_count"] == limits.documents_per_chat_max


async def test_who_reads_the_chat_reads_its_documents(office: Office) -> None:
    chat = await office.chat(visibility="organization")
    document = await attach(office, chat)
    path = f"/chats/{chat['id']}/documents"
    reader, elsewhere = await office.person("read-only"), await office.organisation()
    assert (await office.native("GET", f"{path}/{document['id']}", reader))["text"] == TEXT
    member = await office.person()
    body = {"filename": "a", "text": "b"}
    assert (await office.refusal(403, "POST", path, member, body=body))["code"] == "not_allowed"
    assert (await office.refusal(403, "DELETE", f"{path}/{document['id']}", member))["code"] == "not_allowed"
    for method, at in (
        ("GET", path),
        ("GET", f"{path}/{document['id']}"),
        ("DELETE", f"{path}/{document['id']}"),
    ):
        await office.refusal(404, method, at, elsewhere)
    await office.native("PATCH", f"/chats/{chat['id']}", visibility="private")
    await office.refusal(404, "GET", f"{path}/{document['id']}", reader)


async def test_a_document_belongs_to_its_chat(office: Office) -> None:
    chat, other = await office.chat(), await office.chat()
    document = await attach(office, chat)
    for document_id in (document["id"], UNKNOWN_ID, "no id"):
        for method in ("GET", "DELETE"):
            await office.refusal(404, method, f"/chats/{other['id']}/documents/{document_id}")
    await office.native("DELETE", f"/chats/{chat['id']}")
    await office.refusal(404, "GET", f"/chats/{chat['id']}/documents/{document['id']}")
    await office.refusal(404, "POST", f"/chats/{chat['id']}/documents", body={"filename": "a", "text": "b"})
