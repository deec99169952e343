"""How every field of Cuadra's page moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tests.clients.moves import (
    Answer,
    Steps,
    Table,
    answering,
    differs,
    fail,
    generate,
    get,
    is_gone,
    new_chat,
    rises,
    say,
)
from tests.flows.cuadra_client import model_of, token
from tests.world import Caller, World

TABLE = Table("cuadra")
DAY_S = 24 * 3600
CARD: dict[str, Any] = {
    "display_name": "Mine",
    "context_window": 4096,
    "provider": "scripted",
    "model_name": "scripted",
}


def path_of(chat_id: str) -> str:
    return f"/v1/chats/{chat_id}"


async def read(world: World, chat_id: str, caller: Caller | None = None, query: str = "") -> Answer:
    answer: Answer = await get(world, path_of(chat_id) + query, caller)
    return answer


async def expanded(world: World, chat_id: str) -> Answer:
    answer: Answer = await get(world, f"{path_of(chat_id)}?expand[]=model")
    return answer


async def ask(world: World, **fields: Any) -> str:
    """POST /v1/chats with a question; the chat's id."""
    body = {"messages": [{"role": "user", "content": "Hello"}], **fields}
    response = await world.client.post("/v1/chats", headers=world.owner.bearer, json=body)
    assert response.is_success, response.text
    return str(response.json()["id"])


async def change(world: World, chat_id: str, **fields: Any) -> Answer:
    """PATCH over Cuadra's own API, a minute later, and what GET says then."""
    world.clock.advance(60)
    response = await world.client.patch(path_of(chat_id), headers=world.owner.bearer, json=fields)
    assert response.is_success, response.text
    return await read(world, chat_id)


@TABLE.row("id", differs)
@TABLE.row("createdAt", rises)
async def another_chat(world: World) -> AsyncIterator[Answer]:
    yield await read(world, await ask(world))
    world.clock.advance(3600)
    yield await read(world, await ask(world))


@TABLE.row("organizationId", differs)
@TABLE.row("createdBy", differs)
async def anothers_chat(world: World) -> AsyncIterator[Answer]:
    yield await read(world, await ask(world))
    other = await world.organisation()
    yield await read(world, await new_chat(world, other), other)


@TABLE.row("title", ["Hello", "Renamed", None])
@TABLE.row("updatedAt", rises)
async def renamed(world: World) -> AsyncIterator[Answer]:
    chat_id = await ask(world)
    yield await read(world, chat_id)
    yield await change(world, chat_id, title="Renamed")
    yield await change(world, chat_id, title=None)


@TABLE.row("systemPrompt", [None, "Be brief.", "Be long.", None])
async def instructed(world: World) -> AsyncIterator[Answer]:
    chat_id = await ask(world)
    yield await read(world, chat_id)
    yield await change(world, chat_id, systemPrompt="Be brief.")
    await ask(world, chatId=chat_id, systemPrompt="Be long.")
    yield await read(world, chat_id)
    yield await change(world, chat_id, systemPrompt=None)


@TABLE.row("metadata", [None, {"a": 1}, {"b": [2]}, None])
async def labelled(world: World) -> AsyncIterator[Answer]:
    chat_id = await ask(world)
    yield await read(world, chat_id)
    for metadata in ({"a": 1}, {"b": [2]}, None):
        yield await change(world, chat_id, metadata=metadata)


@TABLE.row("modelId", differs)
async def answered_by_another_model(world: World) -> AsyncIterator[Answer]:
    chat_id = await ask(world)
    yield await read(world, chat_id)
    other = await world.native("POST", "/models", **CARD)
    await ask(world, chatId=chat_id, modelId=other["id"])
    yield await read(world, chat_id)
    assert (await read(world, chat_id))["modelId"] == other["id"]


@TABLE.row("status", [None, "generating", None, "error", None])
async def generated(world: World) -> AsyncIterator[Answer]:
    chat_id = await ask(world)
    yield await read(world, chat_id)
    async with answering(world, chat_id):
        yield await read(world, chat_id)
    yield await read(world, chat_id)
    await fail(world, chat_id)
    yield await read(world, chat_id)
    await generate(world, chat_id)
    yield await read(world, chat_id)


@TABLE.row("lastError", [None, str, None])
@TABLE.row("lastErrorAt", [None, str, None])
async def failed(world: World) -> AsyncIterator[Answer]:
    chat_id = await ask(world)
    yield await read(world, chat_id)
    await fail(world, chat_id)
    yield await read(world, chat_id)
    await ask(world, chatId=chat_id)
    yield await read(world, chat_id)


@TABLE.row("messages", lambda values: [len(value) for value in values] == [2, 4, 4, 5])
async def talked_in(world: World) -> AsyncIterator[Answer]:
    chat_id = await ask(world)
    yield await read(world, chat_id)
    async with answering(world, chat_id):
        yield await read(world, chat_id)
    yield await read(world, chat_id)
    await say(world, chat_id, "system", "Listen.")
    yield await read(world, chat_id)


@TABLE.row("documentsCount", [0, 1, 2, 1])
async def documented(world: World) -> AsyncIterator[Answer]:
    chat_id = await ask(world)
    yield await read(world, chat_id)
    made: Any = None
    for name in ("a.txt", "b.txt"):
        made = await world.native("POST", f"/chats/{chat_id}/documents", filename=name, text="Text")
        yield await read(world, chat_id)
    await world.native("DELETE", f"/chats/{chat_id}/documents/{made['id']}")
    yield await read(world, chat_id)


@TABLE.row("visibility", ["private", "organization", "shared", "private"])
async def opened(world: World) -> AsyncIterator[Answer]:
    chat_id = await ask(world)
    yield await read(world, chat_id)
    for visibility in ("organization", "shared", "private"):
        yield await change(world, chat_id, visibility=visibility)


@TABLE.row("sharedWith", [None, list, None])
async def shared(world: World) -> AsyncIterator[Answer]:
    friend = await world.service("member")
    chat_id = await ask(world)
    assert await is_gone_for(world, chat_id, friend)
    yield await read(world, chat_id)
    yield await change(world, chat_id, visibility="shared", sharedWith=[friend.principal_id])
    assert (await read(world, chat_id, friend))["sharedWith"] == [friend.principal_id]
    yield await change(world, chat_id, sharedWith=None)


async def is_gone_for(world: World, chat_id: str, caller: Caller) -> bool:
    return (await world.client.get(path_of(chat_id), headers=caller.bearer)).is_client_error


@TABLE.row("deletedAt", [None, str, None])
@TABLE.row("deletedBy", [None, str, None])
async def deleted(world: World) -> AsyncIterator[Any]:
    chat_id = await ask(world)
    yield await read(world, chat_id)
    response = await world.client.delete(path_of(chat_id), headers=world.owner.bearer)
    assert response.is_success
    assert await is_gone(world, path_of(chat_id))
    found = await read(world, chat_id, query="?includeDeleted=true")
    assert found["deletedBy"] == world.owner.principal_id
    yield found
    await world.native("POST", f"/chats/{chat_id}/restore")
    yield await read(world, chat_id)


@TABLE.row("source", ["api", "m2m", "connector"])
@TABLE.row("sourceDetail", [None, "dashboard", "slack"])
async def from_elsewhere(world: World) -> AsyncIterator[Answer]:
    yield await read(world, await ask(world))
    machine = await token(world)
    body = {"pinned": False, "source": "dashboard"}
    made = await world.client.post("/chatkeep/v1/chats", headers=machine, json=body)
    yield await read(world, made.json()["id"])
    connector = await world.service("member")
    yield await read(world, await new_chat(world, connector, origin="connector", source="slack"))


@TABLE.row("ephemeral", [False, True])
@TABLE.row("ephemeralExpiresAt", [None, str])
async def passing(world: World) -> AsyncIterator[Answer]:
    yield await read(world, await ask(world))
    chat_id = await ask(world, ephemeral=True)
    yield await read(world, chat_id)
    world.clock.advance(DAY_S)
    assert await is_gone(world, path_of(chat_id))


# --- the model that `expand[]=model` shows --------------------------------------------------------------


@TABLE.row("model", [None, dict, dict, None])
async def looked_up(world: World) -> AsyncIterator[Answer]:
    made = await world.native("POST", "/models", **CARD)
    chat_id = await new_chat(world, model_id=made["id"])
    yield await read(world, chat_id)
    yield await expanded(world, chat_id)
    await world.native("PUT", f"/models/{made['id']}", **{**CARD, "display_name": "Renamed"})
    yield await expanded(world, chat_id)
    await world.native("DELETE", f"/models/{made['id']}")
    yield await expanded(world, chat_id)


@TABLE.row("model.id", differs)
@TABLE.row("model.createdAt", rises)
@TABLE.row("model.isSystemModel", [True, False])
async def with_another_model(world: World) -> AsyncIterator[Answer]:
    yield await expanded(world, await new_chat(world, model_id=await model_of(world)))
    world.clock.advance(60)
    made = await world.native("POST", "/models", **CARD)
    yield await expanded(world, await new_chat(world, model_id=made["id"]))


@TABLE.row("model.updatedAt", rises)
async def with_a_changed_model(world: World) -> AsyncIterator[Answer]:
    made = await world.native("POST", "/models", **CARD)
    chat_id = await new_chat(world, model_id=made["id"])
    yield await expanded(world, chat_id)
    world.clock.advance(60)
    await world.native("PUT", f"/models/{made['id']}", **{**CARD, "description": "Changed"})
    yield await expanded(world, chat_id)


CARD_MOVES: dict[str, tuple[str, Any, Any]] = {
    "contextWindow": ("context_window", 4096, 8192),
    "creditMultiplier": ("credit_multiplier", 2, 0.5),
    "description": ("description", None, "For complex tasks"),
    "displayName": ("display_name", "Mine", "Yours"),
    "enabled": ("enabled", True, False),
    "isRecommended": ("is_recommended", False, True),
    "lifecycleState": ("lifecycle_state", "active", "deprecated"),
    "maxTokensPerRequest": ("max_tokens_per_request", None, 4096),
    "metadata": ("metadata", {}, {"team": "blue"}),
    "modelName": ("model_name", "scripted", "another"),
    "provider": ("provider", None, "scripted"),
    "supportsStreaming": ("supports_streaming", True, False),
}


def card_changed(name: str, before: Any, after: Any) -> Steps:
    """A model's card is changed in one place."""

    async def steps(world: World) -> AsyncIterator[Answer]:
        made = await world.native("POST", "/models", **{**CARD, name: before})
        chat_id = await new_chat(world, model_id=made["id"])
        yield await expanded(world, chat_id)
        await world.native("PUT", f"/models/{made['id']}", **{**CARD, name: after})
        yield await expanded(world, chat_id)

    return steps


for _wire, (_name, _before, _after) in CARD_MOVES.items():
    TABLE.row(f"model.{_wire}", [_before, _after])(card_changed(_name, _before, _after))
