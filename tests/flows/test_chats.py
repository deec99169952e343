"""Chats over the native API: every field is real and moves."""

from __future__ import annotations

from tests.world import World


async def test_a_chat_is_created_read_and_listed(world: World) -> None:
    made = await world.native("POST", "/chats", messages=[{"role": "user", "content": "Hello there"}])
    assert made["title"] == "Hello there"
    read = await world.native("GET", f"/chats/{made['id']}")
    assert read == made
    page = await world.native("GET", "/chats")
    assert [chat["id"] for chat in page["items"]] == [made["id"]]
    assert page["total_count"] == 1


async def test_an_answer_is_generated_and_kept(world: World) -> None:
    chat = await world.native("POST", "/chats", title="Given")
    answer = await world.native("POST", f"/chats/{chat['id']}/generate", message="Hello model")
    assert answer["error"] is None
    read = await world.native("GET", f"/chats/{chat['id']}")
    assert [m["role"] for m in read["messages"]] == ["user", "assistant"]
    assert read["messages"][1]["content"] == answer["message"]["content"] != ""
    assert read["status"] is None
    assert read["title"] == "Given"
