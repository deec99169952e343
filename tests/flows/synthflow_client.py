"""How the stories speak Synthflow: as the owner, at the root door."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx

from chatkeep.domain.agent import GreetingMode
from chatkeep.domain.ids import AgentId, OrganisationId
from chatkeep.store import agents as agent_rows
from chatkeep.store.driver import Transaction
from tests.world import Caller, World

SESSION = "a830288c-88df-4611-8db2-6db87b4fbb41"
OTHER = "fe90071d-fd73-4755-87a4-6aaa0f9bfb25"
CHAT = f"/v2/chat/{SESSION}"
GREETING = "Hi there! How can I help you?"


async def ask(
    world: World, method: str, path: str, caller: Caller | None = None, **options
) -> httpx.Response:
    """One request at the root door, as the owner unless said otherwise."""
    headers = {**(caller or world.owner).bearer, **options.pop("headers", {})}
    return await world.client.request(method, path, headers=headers, **options)


async def agent_of(world: World, caller: Caller | None = None) -> str:
    listed = (await ask(world, "GET", "/v2/assistants/", caller)).json()
    return listed["response"]["assistants"][0]["model_id"]


async def opened(world: World, session: str = SESSION, **body: Any) -> dict[str, Any]:
    body = {"model_id": await agent_of(world), **body}
    response = await ask(world, "POST", f"/v2/chat/{session}", json=body)
    assert response.status_code == 200, response.text
    return response.json()["response"]


async def said(world: World, text: str, session: str = SESSION) -> dict[str, Any]:
    response = await ask(world, "POST", f"/v2/chat/{session}/messages", json={"message": text})
    assert response.status_code == 200, response.text
    return response.json()["response"]


async def session_of(world: World, session: str = SESSION) -> dict[str, Any]:
    response = await ask(world, "GET", f"/v2/chat/{session}")
    assert response.status_code == 200, response.text
    return response.json()["response"]


async def add_agent(world: World, name: str, mode: GreetingMode = "agent_static") -> str:
    """Another agent: the default one under another name, put where the command line would put it."""

    async def body(tx: Transaction) -> str:
        [first] = await agent_rows.page(tx, limit=1, offset=0)
        now = world.clock.now_us()
        new = replace(first, id=AgentId(name), name=name, greeting_mode=mode, created_at=now, updated_at=now)
        await agent_rows.insert(tx, new)
        return new.id

    return await world.system.store.write(OrganisationId(world.owner.organisation_id), body)
