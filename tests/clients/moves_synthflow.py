"""How every field of Synthflow's page moves."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

from tests.clients import schemas
from tests.clients.moves import (
    ABSENT,
    Answer,
    Elsewhere,
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
from tests.flows.synthflow_client import agent_of
from tests.upstream import Script
from tests.world import World

LOG = "response.fsm_log"
TABLE = Table(
    "synthflow",
    still={
        name: "there are no agents with flows yet"
        for name in schemas.fields("synthflow")
        if name.startswith(LOG)
    },
)
GREETING = "Hi there! How can I help you?"


def path_of(chat_id: str) -> str:
    return f"/v2/chat/{chat_id}"


async def read(world: World, chat_id: str) -> Answer:
    answer: Answer = await get(world, path_of(chat_id))
    return answer


async def post(world: World, path: str, **fields: Any) -> Any:
    response = await world.client.post(path, headers=world.owner.bearer, json=fields)
    assert response.is_success, response.text
    return response.json()


async def opened(world: World) -> str:
    """A session with the agent; its id."""
    chat_id = str(uuid.uuid4())
    await post(world, path_of(chat_id), model_id=await agent_of(world))
    return chat_id


@TABLE.row("status", ["ok", ABSENT])
async def refused(world: World) -> AsyncIterator[Any]:
    chat_id = await opened(world)
    yield await read(world, chat_id)
    await world.client.delete(path_of(chat_id), headers=world.owner.bearer)
    response = await world.client.get(path_of(chat_id), headers=world.owner.bearer)
    assert response.is_client_error
    yield Elsewhere(response.json())


@TABLE.row("response", differs)
@TABLE.row("response.chat_id", differs)
@TABLE.row("response.start_timestamp", rises)
async def another_session(world: World) -> AsyncIterator[Answer]:
    yield await read(world, await opened(world))
    world.clock.advance(3600)
    yield await read(world, await opened(world))


@TABLE.row("response.chat_status", ["ongoing", "completed", "cancelled", "ongoing"])
async def ended(world: World) -> AsyncIterator[Answer]:
    chat_id = await opened(world)
    yield await read(world, chat_id)
    for state in ("completed", "cancelled", "ongoing"):
        await patch(world, chat_id, session_state=state)
        yield await read(world, chat_id)


@TABLE.row("response.conversation_history", lambda values: [len(value) for value in values] == [1, 2, 3])
@TABLE.row("response.conversation_history.*.agent_id", [str, "user", str])
@TABLE.row("response.conversation_history.*.message", [GREETING, "Slowly", "So far."])
@TABLE.row("response.conversation_history.*.timestamp", rises)
@TABLE.row("response.conversation_history.*.turn_number", [1, 2, 3])
async def talked_in(world: World) -> AsyncIterator[Answer]:
    chat_id = await opened(world)
    yield await read(world, chat_id)
    said = {"role": "user", "content": "Slowly"}
    await world.native("POST", f"/chats/{chat_id}/messages", messages=[said])
    yield await read(world, chat_id)
    world.upstream.play(Script(["So far."]))
    await world.native("POST", f"/chats/{chat_id}/generate", stream=False)
    yield await read(world, chat_id)


@TABLE.row(
    "response.transcript",
    [
        f"Agent: {GREETING}",
        f"Agent: {GREETING}\nUser: Slowly\nAgent: So far",
        f"Agent: {GREETING}\nUser: Slowly\nAgent: So far.",
    ],
)
async def heard_in(world: World) -> AsyncIterator[Answer]:
    chat_id = await opened(world)
    yield await read(world, chat_id)
    async with answering(world, chat_id):
        yield await read(world, chat_id)
    yield await read(world, chat_id)


@TABLE.row("response.conversation_history.*.current_state", ["greeting_state", "main_state"])
async def answered(world: World) -> AsyncIterator[Answer]:
    chat_id = await opened(world)
    yield await read(world, chat_id)
    await post(world, f"{path_of(chat_id)}/messages", message="Where is my order?")
    yield await read(world, chat_id)


@TABLE.row("response.initial_message", [None, dict, dict])
@TABLE.row("response.initial_message.agent_message", [ABSENT, "Good day.", GREETING])
@TABLE.row("response.initial_message.current_state", [ABSENT, "main_state", "greeting_state"])
async def greeted(world: World) -> AsyncIterator[Answer]:
    chat_id = await new_chat(world)
    yield await read(world, chat_id)
    await say(world, chat_id, "assistant", "Good day.")
    yield await read(world, chat_id)
    yield await read(world, await opened(world))


@TABLE.row("response.initial_message.turn_number", [ABSENT, 1])
async def greeted_first(world: World) -> AsyncIterator[Answer]:
    chat_id = await new_chat(world)
    await generate(world, chat_id)
    yield await read(world, chat_id)
    yield await read(world, await opened(world))


@TABLE.row("response.initial_message.timestamp", rises)
async def greeted_later(world: World) -> AsyncIterator[Answer]:
    yield await read(world, await opened(world))
    world.clock.advance(60)
    yield await read(world, await opened(world))
