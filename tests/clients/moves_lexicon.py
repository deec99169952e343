"""How every field of Lexicon's page moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tests.clients.moves import Answer, Table, answering, differs, generate, get, new_chat, patch, rises, say
from tests.world import Caller, World

TABLE = Table("lexicon")


async def read(world: World, chat_id: str, caller: Caller | None = None) -> Answer:
    answer: Answer = await get(world, f"/lexicon/api/v1/chats/{chat_id}", caller)
    return answer


async def created(world: World, **fields: Any) -> str:
    """A chat through the vendor's API; its id."""
    body = {"user_id": "user123", **fields}
    response = await world.client.post("/api/v1/chats/", headers=world.owner.x_api_key, json=body)
    assert response.is_success, response.text
    return str(response.json()["id"])


@TABLE.row("id", differs)
@TABLE.row("created_at", rises)
@TABLE.row("user_id", ["user123", "user456"])
async def another_chat(world: World) -> AsyncIterator[Answer]:
    yield await read(world, await created(world))
    world.clock.advance(3600)
    yield await read(world, await created(world, user_id="user456"))


@TABLE.row("tenant_id", differs)
async def anothers_chat(world: World) -> AsyncIterator[Answer]:
    yield await read(world, await created(world))
    other = await world.organisation()
    yield await read(world, await new_chat(world, other), other)


@TABLE.row("title", ["New Chat", "Where is my order?", "Renamed"])
@TABLE.row("updated_at", rises)
async def renamed(world: World) -> AsyncIterator[Answer]:
    chat_id = await created(world)
    yield await read(world, chat_id)
    await say(world, chat_id, "user", "Where is my order?")
    yield await read(world, chat_id)
    await patch(world, chat_id, title="Renamed")
    yield await read(world, chat_id)


@TABLE.row("config", [{"metadata": {}}, {"metadata": {"priority": "high"}}, {"metadata": {}}])
@TABLE.row("config.metadata", [{}, {"priority": "high"}, {}])
async def labelled(world: World) -> AsyncIterator[Answer]:
    chat_id = await created(world)
    yield await read(world, chat_id)
    for metadata in ({"priority": "high"}, None):
        await patch(world, chat_id, metadata=metadata)
        yield await read(world, chat_id)


@TABLE.row("message_count", [0, 2, 4])
@TABLE.row("last_message_at", lambda values: values[0] is None and rises(values[1:]))
async def talked_in(world: World) -> AsyncIterator[Answer]:
    chat_id = await created(world)
    yield await read(world, chat_id)
    async with answering(world, chat_id):
        yield await read(world, chat_id)
        world.clock.advance(60)
    await generate(world, chat_id)
    yield await read(world, chat_id)


@TABLE.row("status", ["active", "closed", "active", "closed"])
async def closed(world: World) -> AsyncIterator[Answer]:
    chat_id = await created(world)
    yield await read(world, chat_id)
    for state in ("completed", "ongoing", "cancelled"):
        await patch(world, chat_id, session_state=state)
        yield await read(world, chat_id)
