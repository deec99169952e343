"""ETags: what a client holds is either what there is, or it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chatkeep.domain.ids import ChatId
from chatkeep.services import chats
from tests.flows.office import Office

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def etag_of(office: Office, chat_id: str) -> str:
    response = await office.ask("GET", f"/chats/{chat_id}")
    assert response.status_code == 200
    assert response.headers["etag"].startswith('"')
    return response.headers["etag"]


async def test_each_write_answers_with_the_etag_that_a_read_gives(office: Office) -> None:
    made = await office.ask("POST", "/chats", body={"messages": [{"role": "user", "content": "Hi"}]})
    chat_id = made.json()["id"]
    assert made.headers["etag"] == await etag_of(office, chat_id)
    changed = await office.ask("PATCH", f"/chats/{chat_id}", body={"title": "x"})
    assert changed.headers["etag"] == await etag_of(office, chat_id) != made.headers["etag"]
    expanded = await office.ask("GET", f"/chats/{chat_id}?expand=model")
    assert expanded.headers["etag"] == changed.headers["etag"]
    await office.native("DELETE", f"/chats/{chat_id}")
    restored = await office.ask("POST", f"/chats/{chat_id}/restore")
    assert restored.headers["etag"] == await etag_of(office, chat_id) != changed.headers["etag"]


async def test_every_change_moves_the_etag(office: Office) -> None:
    folder = await office.native("POST", "/folders", name="F")
    chat = await office.chat("Hi", "Hello", folder_id=folder["id"])
    path = f"/chats/{chat['id']}"
    document: dict[str, Any] = {}

    async def attach() -> None:
        document.update(await office.native("POST", path + "/documents", filename="a", text="b"))

    async def delete_and_restore() -> None:
        await office.native("DELETE", path)
        await office.native("POST", path + "/restore")

    steps: list[Callable[[], Awaitable[Any]]] = [
        lambda: office.native("PATCH", path, title="T"),
        lambda: office.native("PATCH", path, tags=["a"]),
        lambda: office.native("PATCH", path, metadata={"a": 1}),
        lambda: office.native("PATCH", path, current_message_id=chat["messages"][0]["id"]),
        lambda: office.native("POST", path + "/messages", messages=[{"role": "user", "content": "x"}]),
        lambda: office.native("POST", path + "/generate", message="y"),
        attach,
        lambda: office.native("DELETE", f"{path}/documents/{document['id']}"),
        lambda: office.native("POST", path + "/share"),
        lambda: office.native("POST", path + "/share"),
        lambda: office.native("DELETE", path + "/share"),
        lambda: office.native("DELETE", f"/folders/{folder['id']}"),
        delete_and_restore,
    ]
    seen = [await etag_of(office, chat["id"])]
    for step in steps:
        await step()
        seen.append(await etag_of(office, chat["id"]))
    assert len(set(seen)) == len(steps) + 1
    for old in seen[:-1]:
        assert (await office.ask("GET", path, headers={"if-none-match": old})).status_code == 200


async def test_a_client_that_has_it_is_told_304_without_a_body(office: Office) -> None:
    chat = await office.chat("Hi")
    path, etag = f"/chats/{chat['id']}", await etag_of(office, chat["id"])
    for known in (etag, f"W/{etag}", f'"other", {etag}', f'"a","b", W/{etag}', "*"):
        response = await office.ask("GET", path, headers={"if-none-match": known})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == etag
        assert response.headers["cache-control"] == "private, no-cache"
    for other in ('"other"', etag.strip('"'), "", etag[:-2] + '"'):
        assert (await office.ask("GET", path, headers={"if-none-match": other})).status_code == 200


async def test_a_304_is_for_those_only_who_may_read(office: Office) -> None:
    chat = await office.chat("Hi")
    path, etag = f"/chats/{chat['id']}", await etag_of(office, chat["id"])
    for known in (etag, "*"):
        for stranger in (await office.person(), await office.organisation()):
            await office.refusal(404, "GET", path, stranger, headers={"if-none-match": known})
    await office.native("DELETE", path)
    await office.refusal(404, "GET", path, headers={"if-none-match": etag})


async def test_a_change_for_another_version_is_refused(office: Office) -> None:
    chat = await office.chat("Hi")
    path, old = f"/chats/{chat['id']}", await etag_of(office, chat["id"])
    await office.native("PATCH", path, title="Theirs")
    new = await etag_of(office, chat["id"])
    for named in (old, f"W/{new}", '"garbage"', "garbage", "", '"-"', f'{old}, "x-1"', new.strip('"')):
        for method, body in (("PATCH", {"title": "Mine"}), ("DELETE", None)):
            problem = await office.refusal(412, method, path, body=body, headers={"if-match": named})
            assert problem["code"] == "version_mismatch"
    assert (await office.read(chat["id"]))["title"] == "Theirs"


async def test_a_change_for_this_version_is_made(office: Office) -> None:
    chat = await office.chat("Hi")
    path = f"/chats/{chat['id']}"
    for name in ("{}", '"other", {}', '{}, "other"', "W/{0}, {0}", "*"):
        named = name.format(await etag_of(office, chat["id"]))
        changed = await office.ask("PATCH", path, body={"title": name}, headers={"if-match": named})
        assert (changed.status_code, changed.json()["title"]) == (200, name)
    named = await etag_of(office, chat["id"])
    assert (await office.ask("DELETE", path, headers={"if-match": named})).status_code == 204


async def test_who_may_not_see_a_chat_is_not_told_its_version(office: Office) -> None:
    chat = await office.chat("Hi", visibility="organization")
    path, etag = f"/chats/{chat['id']}", await etag_of(office, chat["id"])
    stranger, reader = await office.organisation(), await office.person()
    for named in (etag, '"garbage"'):
        for method, body in (("PATCH", {"title": "x"}), ("DELETE", None)):
            await office.refusal(404, method, path, stranger, body=body, headers={"if-match": named})
            await office.refusal(403, method, path, reader, body=body, headers={"if-match": named})


async def test_an_id_used_again_is_another_chat(office: Office) -> None:
    await office.chat("Old secret", id="again")
    old = await etag_of(office, "again")
    await chats.purge(office.context(), ChatId("again"))
    await office.chat("New text", id="again")
    new = await etag_of(office, "again")
    assert old.split("-")[1] == new.split("-")[1], "the version alone would not tell them apart"
    response = await office.ask("GET", "/chats/again", headers={"if-none-match": old})
    assert response.status_code == 200
    assert "Old secret" not in response.text
    await office.refusal(412, "PATCH", "/chats/again", body={"title": "x"}, headers={"if-match": old})
    await office.refusal(412, "DELETE", "/chats/again", headers={"if-match": old})


async def test_of_two_changes_at_once_one_is_made(office: Office) -> None:
    chat = await office.chat("Hi")
    path, etag = f"/chats/{chat['id']}", await etag_of(office, chat["id"])
    tries = (office.ask("PATCH", path, body={"title": str(n)}, headers={"if-match": etag}) for n in range(10))
    statuses = sorted(response.status_code for response in await asyncio.gather(*tries))
    assert statuses == [200] + [412] * 9
    assert (await office.read(chat["id"]))["version"] == chat["version"] + 1
