"""Requests to Lexicon's API as a tenant's backend makes them, and what it says of what is not there."""

from __future__ import annotations

from typing import Any

import httpx

from tests.world import Caller, World

CHATS = "/api/v1/chats"
# The example of the vendor's page "Get Chat".
NO_KEY = {"error": 401, "message": "Invalid or missing API key"}
NO_CHAT = {"error": 404, "message": "Chat not found or doesn't belong to your tenant"}


async def ask(
    world: World, method: str, path: str, caller: Caller | None = None, **more: Any
) -> httpx.Response:
    """One request at the root with the owner's key, or another's."""
    headers = {**(caller or world.owner).x_api_key, **more.pop("headers", {})}
    return await world.client.request(method, path, headers=headers, **more)


async def make(world: World, caller: Caller | None = None, **body: Any) -> dict[str, Any]:
    response = await ask(world, "POST", f"{CHATS}/", caller, json={"user_id": "user123", **body})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made
