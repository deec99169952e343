"""Soft delete and restore: who, when, and that a deleted chat is nowhere until it comes back as it was."""

from __future__ import annotations

from typing import Any

import pytest

from chatkeep.domain.ids import ChatId
from chatkeep.services import chats
from tests.flows.office import Office

pytestmark = pytest.mark.asyncio(loop_scope="session")
SAID = {"messages": [{"role": "user", "content": "x"}]}


async def test_who_deleted_it_and_when(office: Office) -> None:
    creator, admin = await office.person(), await office.person("admin")
    chat = await office.chat("Hi", caller=creator)
    response = await office.ask("DELETE", f"/chats/{chat['id']}", admin)
    assert (response.status_code, response.content) == (204, b"")
    (item,) = (await office.native("GET", "/chats?deleted=true", creator))["items"]
    assert item["deleted_by"] == admin.principal_id
    assert item["deleted_at"] == item["updated_at"] > chat["updated_at"]
    assert item["version"] == chat["version"] + 1
    assert (await office.native("GET", "/chats", creator))["total_count"] == 0


async def test_it_comes_back_as_it_was(office: Office) -> None:
    chat = await office.chat(
        "Hi", "Hello", tags=["a"], metadata={"a": 1}, pinned=True, visibility="organization"
    )
    path = f"/chats/{chat['id']}"
    document = await office.native("POST", path + "/documents", filename="a", text="b")
    before = await office.read(chat["id"])
    await office.native("DELETE", path)
    restored = await office.native("POST", path + "/restore")
    after = await office.read(chat["id"])
    assert {**restored, "messages": after["messages"]} == after
    moved = {name: after[name] for name in ("updated_at", "version")}
    assert after == {**before, **moved}
    assert after["version"] == before["version"] + 2
    assert (await office.native("GET", path + "/documents"))["items"] == [document]
    assert (await office.native("GET", "/chats"))["items"] == [restored]
    assert (await office.native("GET", "/chats?deleted=true"))["items"] == []


async def test_meanwhile_it_is_not_found_by_any_verb(office: Office) -> None:
    chat = await office.chat("Hi")
    path = f"/chats/{chat['id']}"
    document = await office.native("POST", path + "/documents", filename="a", text="b")
    await office.native("DELETE", path)
    verbs: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("GET", "?expand=model", None),
        ("PATCH", "", {"title": "x"}),
        ("DELETE", "", None),
        ("GET", "/messages", None),
        ("POST", "/messages", SAID),
        ("POST", "/generate", {"message": "x"}),
        ("GET", "/documents", None),
        ("POST", "/documents", {"filename": "a", "text": "b"}),
        ("GET", f"/documents/{document['id']}", None),
        ("DELETE", f"/documents/{document['id']}", None),
        ("POST", "/share", None),
        ("DELETE", "/share", None),
    ]
    for caller in (office.owner, await office.person("admin")):
        for method, tail, body in verbs:
            assert (await office.refusal(404, method, path + tail, caller, body=body))[
                "detail"
            ] == "Chat not found."
    assert office.upstream.requests == []


async def test_meanwhile_it_is_not_found_in_any_dialect(office: Office) -> None:
    chat = await office.chat("Hi", id="5a9f6c1e-3b7d-4e0a-8c2f-1d6b4a90aaaa")
    key = office.owner.key
    doors: list[tuple[str, str, dict[str, str], int]] = [
        ("GET", "/chatkeep/v1/chats/{id}", office.owner.bearer, 404),
        ("GET", "/v1/chats/{id}", office.owner.bearer, 404),
        ("GET", "/cuadra/v1/chats/{id}", office.owner.bearer, 404),
        ("GET", "/api/chats/{id}", office.owner.bearer, 401),  # the vendor says 401 for what is not there
        ("GET", "/api/v1/chats/{id}", office.owner.bearer, 401),
        ("GET", "/api/v1/chats/{id}", {"x-api-key": key}, 404),
        ("GET", "/api/v1/chats/{id}/messages", {"x-api-key": key}, 404),
        ("GET", "/v2/chat/{id}", office.owner.bearer, 404),
    ]

    async def statuses() -> list[int]:
        found = []
        for method, path, headers, _ in doors:
            response = await office.client.request(method, path.format(id=chat["id"]), headers=headers)
            assert "Hi" not in response.text or response.status_code == 200
            found.append(response.status_code)
        return found

    assert await statuses() == [200] * len(doors)
    await office.native("DELETE", f"/chats/{chat['id']}")
    assert await statuses() == [wanted for *_, wanted in doors]
    await office.native("POST", f"/chats/{chat['id']}/restore")
    assert await statuses() == [200] * len(doors)


async def test_only_who_manages_it_brings_it_back(office: Office) -> None:
    creator = await office.person()
    chat = await office.chat("Hi", caller=creator, visibility="organization")
    path = f"/chats/{chat['id']}/restore"
    assert (await office.refusal(404, "POST", path, creator))["detail"] == "Chat not found."
    await office.native("DELETE", f"/chats/{chat['id']}", creator)
    for stranger in (await office.person(), await office.organisation()):
        await office.refusal(404, "POST", path, stranger)
    await office.refusal(403, "POST", path, await office.person("read-only"))
    assert (await office.native("POST", path, creator))["deleted_at"] is None
    await office.refusal(404, "POST", path, creator)


async def test_what_is_deleted_for_good_does_not_come_back(office: Office) -> None:
    chat = await office.chat("Hi")
    await chats.purge(office.context(), ChatId(chat["id"]))
    await office.refusal(404, "GET", f"/chats/{chat['id']}")
    await office.refusal(404, "POST", f"/chats/{chat['id']}/restore")
    assert (await office.native("GET", "/chats?deleted=true"))["items"] == []


async def test_a_read_that_was_kept_does_not_outlive_the_chat(office: Office) -> None:
    chat = await office.chat("Hi")
    for _ in range(3):
        await office.read(chat["id"])
        await office.native("DELETE", f"/chats/{chat['id']}")
        await office.refusal(404, "GET", f"/chats/{chat['id']}")
        await office.native("POST", f"/chats/{chat['id']}/restore")
