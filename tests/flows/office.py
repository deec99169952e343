"""An organisation of its own for each story, in one server that the stories of a process share: new ones are cheap.

Stories that stop the server, count the rows of all tables or need other settings take the fixture `world` instead.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import orjson

from chatkeep.domain.ids import PrincipalId
from chatkeep.domain.principal import Role
from chatkeep.services import organisations, people
from chatkeep.services.context import Context
from chatkeep.store import principals
from tests.world import NATIVE, Caller, World

PATIENCE_S = 20.0


class Office(World):
    """One organisation's people in the shared server; `owner` is its owner."""

    async def ask(
        self,
        method: str,
        path: str,
        caller: Caller | None = None,
        *,
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> httpx.Response:
        """One request to the native API, whatever comes of it. `body` is JSON or bytes; `caller` None is the owner."""
        sent = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        all_headers = {**(caller or self.owner).bearer, **(headers or {})}
        if sent is not None:
            all_headers.setdefault("content-type", "application/json")
        return await self.client.request(method, NATIVE + path, headers=all_headers, content=sent)

    async def refusal(
        self, status: int, method: str, path: str, caller: Caller | None = None, **more: Any
    ) -> Any:
        """One request that must be refused with this status, as a problem; the problem."""
        response = await self.ask(method, path, caller, **more)
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text}"
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert problem["status"] == status
        return problem

    async def person(
        self,
        role: Role = "member",
        scopes: tuple[str, ...] = (),
        *,
        expires_in_s: int | None = None,
        organisation: Caller | None = None,
    ) -> Caller:
        """As in `World`, but without an e-mail address and a password, whose hash takes a quarter of a second."""
        ctx = self._operator(organisation or self.owner)
        account = people._account(self.system, ctx.principal.organisation_id, "person", role, "Somebody")
        await ctx.write(lambda tx: principals.insert(tx, account))
        return await self._key(ctx, account.id, scopes, expires_in_s)

    async def chat(self, *texts: str, caller: Caller | None = None, **fields: Any) -> Any:
        """A new chat in which user and assistant have said `texts` in turn."""
        said = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
        return await self.native("POST", "/chats", caller, title="A chat", **fields, messages=said)

    async def read(self, chat_id: str, caller: Caller | None = None) -> Any:
        """The chat as it is now."""
        return await self.native("GET", f"/chats/{chat_id}", caller)

    async def settled(self, chat_id: str) -> Any:
        """The chat once no answer is being generated."""
        await idle(self)
        chat = await self.read(chat_id)
        assert chat["status"] != "generating"
        return chat

    def context(self, caller: Caller | None = None) -> Context:
        """What a service is given for somebody who may do everything."""
        who = caller or self.owner
        principal = organisations.operator(
            self._operator(who).principal.organisation_id, PrincipalId(who.principal_id)
        )
        return Context(self.system, principal)


async def idle(world: World) -> None:
    """Wait until the server generates nothing."""
    async with asyncio.timeout(PATIENCE_S):
        while tasks := list(world.server.house.runner._tasks.values()):
            await asyncio.wait(tasks)


def events(text: str) -> list[tuple[str, Any]]:
    """The events of a native stream by name and value; comments are left out."""
    found = []
    for block in text.split("\n\n"):
        if match := re.fullmatch(r"(?:id: \d+\n)?event: (\w+)\ndata: (.*)", block):
            found.append((match[1], orjson.loads(match[2])))
        else:
            assert not block.strip(" \n:"), f"no event: {block!r}"
    return found
