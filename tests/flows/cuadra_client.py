"""A Cuadra client for the stories: tokens, requests that must succeed, streams read to their end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from tests.world import Caller, World

Headers = dict[str, str]
TIMES_AND_NAMES = ("id", "createdAt", "updatedAt")


async def token(world: World, role: Any = "member", scopes: tuple[str, ...] = ()) -> Headers:
    """The headers of a machine that got its access token by client credentials."""
    client_id, client_secret = await world.client_credentials(role, scopes)
    body = {"client_id": client_id, "client_secret": client_secret, "grant_type": "client_credentials"}
    response = await world.client.post("/v1/oauth2/token", json=body)
    assert response.status_code == 200, response.text
    return {"Authorization": f"Bearer {response.json()['access_token']}"}


async def ask(world: World, headers: Headers, text: str = "Hi", **fields: Any) -> Any:
    """A waiting POST that must succeed; its JSON."""
    response = await post(world, headers, text, **fields)
    assert response.status_code == 200, response.text
    return response.json()


async def post(world: World, headers: Headers, text: str = "Hi", **fields: Any) -> httpx.Response:
    """POST with one user message."""
    body = {"messages": [{"role": "user", "content": text}], **fields}
    return await world.client.post("/v1/chats", headers=headers, json=body)


async def get(world: World, headers: Headers, path: str) -> Any:
    """A GET that must succeed; its JSON."""
    response = await world.client.get(path, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def chunks(body: bytes) -> list[Any]:
    """The events of a native stream, which must be framed as the vendor frames them and end with `[DONE]`."""
    blocks = body.split(b"\n\n")
    assert blocks.pop() == b""
    assert all(block.startswith(b"data: ") and b"\n" not in block for block in blocks)
    assert blocks.pop() == b"data: [DONE]"
    return [json.loads(block.removeprefix(b"data: ")) for block in blocks]


def check_problem(response: httpx.Response, status: int, title: str, detail: str | None = None) -> None:
    """The response is the vendor's problem JSON and nothing more."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem.keys() == {"type", "title", "status", "detail"}
    assert (problem["type"], problem["title"], problem["status"]) == ("about:blank", title, status)
    assert detail is None or problem["detail"] == detail


async def until_idle(world: World) -> None:
    """Wait for all answers under way."""
    await asyncio.gather(*world.server.house.runner._tasks.values())


async def model_of(world: World) -> str:
    """The id of the one model there is."""
    page = await world.native("GET", "/models")
    return str(page["items"][0]["id"])


async def roles_and_texts(world: World, chat_id: str, caller: Caller | None = None) -> list[tuple[str, str]]:
    """The chat's path as the native dialect shows it."""
    chat = await world.native("GET", f"/chats/{chat_id}", caller)
    return [(message["role"], message["content"]) for message in chat["messages"]]
