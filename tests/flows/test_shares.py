"""Shares over the native API: a chat as it was, for everybody in the organisation."""

from __future__ import annotations

import pytest

from tests.flows.office import Office

pytestmark = pytest.mark.asyncio(loop_scope="session")
UNKNOWN_ID = "01900000-0000-7000-8000-000000000000"


async def test_a_share_is_the_chat_as_it_was(office: Office) -> None:
    chat = await office.chat("Hi", "Hello")
    path = f"/chats/{chat['id']}"
    share = await office.native("POST", path + "/share")
    messages = [{name: m[name] for name in ("id", "role", "content", "created_at")} for m in chat["messages"]]
    assert share["snapshot"] == {"title": "A chat", "messages": messages}
    assert share["chat_id"] == chat["id"]
    assert (await office.read(chat["id"]))["share_id"] == share["id"]
    await office.native("PATCH", path, title="Later")
    await office.native("POST", path + "/messages", messages=[{"role": "user", "content": "later"}])
    assert await office.native("GET", f"/shares/{share['id']}") == share


async def test_sharing_again_keeps_the_id_and_takes_a_new_snapshot(office: Office) -> None:
    chat = await office.chat("Hi")
    path = f"/chats/{chat['id']}"
    first = await office.native("POST", path + "/share")
    await office.native("PATCH", path, title="Later")
    second = await office.native("POST", path + "/share")
    assert (second["id"], second["created_at"]) == (first["id"], first["created_at"])
    assert second["updated_at"] > first["updated_at"]
    assert second["snapshot"]["title"] == "Later"
    assert await office.native("GET", f"/shares/{first['id']}") == second


async def test_only_the_current_path_is_shared(office: Office) -> None:
    chat = await office.chat("a", "b")
    path = f"/chats/{chat['id']}"
    said = {"role": "assistant", "content": "b2", "parent_id": chat["messages"][0]["id"]}
    await office.native("POST", path + "/messages", messages=[said])
    share = await office.native("POST", path + "/share")
    assert [message["content"] for message in share["snapshot"]["messages"]] == ["a", "b2"]


async def test_everybody_in_the_organisation_reads_it_and_nobody_else(office: Office) -> None:
    chat = await office.chat("Hi")
    share = await office.native("POST", f"/chats/{chat['id']}/share")
    for reader in (await office.person(), await office.person("read-only")):
        await office.refusal(404, "GET", f"/chats/{chat['id']}", reader)
        assert await office.native("GET", f"/shares/{share['id']}", reader) == share
    await office.refusal(404, "GET", f"/shares/{share['id']}", await office.organisation())
    narrow = await office.person("member", ("models:read",))
    assert (await office.refusal(403, "GET", f"/shares/{share['id']}", narrow))["code"] == "missing_scope"
    for share_id in (UNKNOWN_ID, "no id", chat["id"]):
        assert (await office.refusal(404, "GET", f"/shares/{share_id}"))["detail"] == "Share not found."


async def test_who_may_not_change_a_chat_shares_nothing(office: Office) -> None:
    chat = await office.chat("Hi", visibility="organization")
    member, elsewhere = await office.person(), await office.organisation()
    for method in ("POST", "DELETE"):
        await office.refusal(403, method, f"/chats/{chat['id']}/share", member)
        await office.refusal(404, method, f"/chats/{chat['id']}/share", elsewhere)
    assert (await office.read(chat["id"])) == chat


async def test_a_withdrawn_share_stops_at_once_and_its_id_never_works_again(office: Office) -> None:
    chat = await office.chat("Hi")
    path = f"/chats/{chat['id']}"
    share = await office.native("POST", path + "/share")
    await office.native("DELETE", path + "/share")
    await office.refusal(404, "GET", f"/shares/{share['id']}")
    assert (await office.read(chat["id"]))["share_id"] is None
    assert (await office.refusal(404, "DELETE", path + "/share"))["detail"] == "Share not found."
    again = await office.native("POST", path + "/share")
    assert again["id"] != share["id"]
    await office.refusal(404, "GET", f"/shares/{share['id']}")


async def test_a_share_goes_and_comes_with_its_chat(office: Office) -> None:
    chat = await office.chat("Hi", ttl_s=3600)
    path = f"/chats/{chat['id']}"
    share = await office.native("POST", path + "/share")
    await office.native("DELETE", path)
    await office.refusal(404, "GET", f"/shares/{share['id']}")
    await office.refusal(404, "POST", path + "/share")
    await office.native("POST", path + "/restore")
    assert await office.native("GET", f"/shares/{share['id']}") == share
    office.clock.advance(3601)
    await office.refusal(404, "GET", f"/shares/{share['id']}")
