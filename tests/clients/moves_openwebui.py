"""How every field of Open WebUI's page moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tests.clients import seeds
from tests.clients.moves import (
    ABSENT,
    Answer,
    Table,
    answering,
    differs,
    generate,
    get,
    new_chat,
    patch,
    rises,
    say,
)
from tests.world import Caller, World

TABLE = Table("openwebui")


async def read(world: World, chat_id: str, caller: Caller | None = None) -> Answer:
    answer: Answer = await get(world, f"/api/chats/{chat_id}", caller)
    return answer


async def stored(world: World) -> str:
    """The page's own chat, stored through the vendor's API; its id."""
    body = {"chat": seeds.printed_object("openwebui")["chat"]}
    response = await world.client.post("/api/v1/chats/new", headers=world.owner.bearer, json=body)
    assert response.is_success, response.text
    return str(response.json()["id"])


@TABLE.row("id", differs)
@TABLE.row("created_at", rises)
async def another_chat(world: World) -> AsyncIterator[Answer]:
    yield await read(world, await stored(world))
    world.clock.advance(3600)
    yield await read(world, await stored(world))


@TABLE.row("user_id", differs)
async def anothers_chat(world: World) -> AsyncIterator[Answer]:
    yield await read(world, await stored(world))
    yield await read(world, await new_chat(world, await world.service("member")))


@TABLE.row("title", ["AI Assistant Conversation", "Renamed", "New Chat"])
@TABLE.row("chat.title", ["AI Assistant Conversation", "Renamed", "New Chat"])
@TABLE.row("chat", differs)
@TABLE.row("updated_at", rises)
async def renamed(world: World) -> AsyncIterator[Answer]:
    chat_id = await stored(world)
    yield await read(world, chat_id)
    for title in ("Renamed", None):
        await patch(world, chat_id, title=title)
        yield await read(world, chat_id)


@TABLE.row("chat.history", differs)
@TABLE.row("chat.history.messages", lambda values: [len(value) for value in values] == [2, 4, 4, 5])
@TABLE.row("chat.history.messages.*.content", [str, "So far", "So far.", "And now?"])
async def talked_in(world: World) -> AsyncIterator[Answer]:
    chat_id = await stored(world)
    yield await read(world, chat_id)
    async with answering(world, chat_id):
        yield await read(world, chat_id)
    yield await read(world, chat_id)
    await say(world, chat_id, "user", "And now?")
    yield await read(world, chat_id)


@TABLE.row("chat.history.messages.*.id", ["msg-2", str, str])
@TABLE.row("chat.history.messages.*.role", ["assistant", "user", "assistant"])
@TABLE.row("chat.history.messages.*.timestamp", rises)
@TABLE.row("chat.history.messages.*.model", ["gpt-4", ABSENT, str])
async def taken_in_turns(world: World) -> AsyncIterator[Answer]:
    chat_id = await stored(world)
    yield await read(world, chat_id)
    await say(world, chat_id, "user", "And now?")
    yield await read(world, chat_id)
    await generate(world, chat_id)
    yield await read(world, chat_id)


@TABLE.row("chat.history.currentId", ["msg-2", str, "msg-2"])
async def led_back(world: World) -> AsyncIterator[Answer]:
    chat_id = await stored(world)
    yield await read(world, chat_id)
    await generate(world, chat_id)
    yield await read(world, chat_id)
    await patch(world, chat_id, current_message_id="msg-2")
    yield await read(world, chat_id)


@TABLE.row("share_id", [None, str, None])
async def shared(world: World) -> AsyncIterator[Answer]:
    chat_id = await stored(world)
    yield await read(world, chat_id)
    share: Any = await world.native("POST", f"/chats/{chat_id}/share")
    assert (await read(world, chat_id))["share_id"] == share["id"]
    yield await read(world, chat_id)
    await world.native("DELETE", f"/chats/{chat_id}/share")
    yield await read(world, chat_id)


@TABLE.row("archived", [False, True, False])
@TABLE.row("pinned", [False, True, False])
async def put_away(world: World) -> AsyncIterator[Answer]:
    chat_id = await stored(world)
    yield await read(world, chat_id)
    for is_so in (True, False):
        await patch(world, chat_id, archived=is_so, pinned=is_so)
        yield await read(world, chat_id)


@TABLE.row("folder_id", [None, str, None])
async def filed(world: World) -> AsyncIterator[Answer]:
    folder = await world.native("POST", "/folders", name="Projects")
    chat_id = await stored(world)
    yield await read(world, chat_id)
    await patch(world, chat_id, folder_id=folder["id"])
    assert (await read(world, chat_id))["folder_id"] == folder["id"]
    yield await read(world, chat_id)
    await world.native("DELETE", f"/folders/{folder['id']}")
    yield await read(world, chat_id)


@TABLE.row("meta", [{}, {"tags": ["work", "ai_help"]}, {"tags": ["work"]}, {"own": 1}])
@TABLE.row("meta.tags", [ABSENT, ["work", "ai_help"], ["work"], ABSENT])
async def tagged(world: World) -> AsyncIterator[Answer]:
    chat_id = await stored(world)
    yield await read(world, chat_id)
    for tags in (["Work", "AI help"], ["Work"]):
        await patch(world, chat_id, tags=tags)
        yield await read(world, chat_id)
    await patch(world, chat_id, tags=[], metadata={"own": 1})
    yield await read(world, chat_id)
