"""A server for Schemathesis to throw requests at: a world on a thread of its own, reached as an ASGI application.

Schemathesis runs applications on its own event loop; the world's store, runner and model client belong to theirs, so
each request crosses over as a whole.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig

from tests.security.estate import Estate, plant
from tests.security.rows import Database, open_rows
from tests.security.surface import PREFIX_OF, openapi
from tests.upstream import ScriptedUpstream
from tests.world import FakeClock, World, open_world

SEED = 20_260_101
Message = dict[str, Any]


class Served:
    """The world, its estate and the application."""

    def __init__(self, loop: asyncio.AbstractEventLoop, world: World, estate: Estate) -> None:
        self.world = world
        self.estate = estate
        self.requests = 0
        self._loop = loop

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """One request, carried over to the world's loop and back."""
        if scope["type"] == "lifespan":
            return
        self.requests += 1
        body = (await receive()).get("body", b"")
        future = asyncio.run_coroutine_threadsafe(self._answer(scope, body), self._loop)
        for message in await asyncio.wrap_future(future):
            await send(message)

    async def _answer(self, scope: Message, body: bytes) -> list[Message]:
        waiting = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Message] = []

        async def receive() -> Message:
            if waiting:
                return waiting.pop()
            return await asyncio.Event().wait()  # type: ignore[return-value]

        async def send(message: Any) -> None:
            sent.append(dict(message))

        await self.world.server.edge(scope, receive, send)
        return sent

    def call(self, coroutine: Any) -> Any:
        """Run something on the world's loop from any thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def schema(self, dialect: str, *, examples: int, seed: int = SEED) -> Any:
        """The dialect's document, ready to be run against this application."""
        schemes = openapi(self.world, dialect)["components"]["securitySchemes"]
        key = self.estate.owner.key
        credentials = {
            name: {"bearer": key} if scheme["type"] == "http" else {"api_key": key}
            for name, scheme in schemes.items()
        }
        config = SchemathesisConfig.from_dict(settings(credentials, examples=examples, seed=seed))
        return schemathesis.openapi.from_asgi(f"{PREFIX_OF[dialect]}/openapi.json", self, config=config)


def settings(credentials: Mapping[str, Any], *, examples: int, seed: int) -> dict[str, Any]:
    """All checks on, the same requests every time."""
    return {
        "seed": seed,
        "auth": {"openapi": credentials},
        "generation": {
            "max-examples": examples,
            "database": "none",
            "no-shrink": True,
            "allow-extra-parameters": False,  # HTTP passes over headers and parameters that nobody knows
        },
        "phases": {"stateful": {"enabled": False}},
        "cache": {"enabled": False},
        "workers": 1,
        "checks": {"max_response_time": 5},
        "continue-on-failure": True,
    }


@contextmanager
def serving(data: Path, database: Database | None) -> Iterator[Served]:
    """A world with an estate on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fuzzed world", daemon=True)
    thread.start()

    async def open_up() -> tuple[AsyncExitStack, World, Estate]:
        stack = AsyncExitStack()
        upstream = await stack.enter_async_context(ScriptedUpstream())
        url, superuser_url = (None, None) if database is None else (database.url, database.superuser_url)
        opened = open_world(data, FakeClock(), upstream, database_url=url)
        world = await stack.enter_async_context(opened)
        async with open_rows(world, superuser_url) as rows:
            estate = await plant(world, rows, world.owner, "planted")
        house = world.server.house
        house.tail.close()  # whoever follows a chat is told what there is, and that is all
        house.turns._wait_s = 0.1  # one of its chats is busy for ever
        return stack, world, estate

    stack, world, estate = asyncio.run_coroutine_threadsafe(open_up(), loop).result(60)
    try:
        yield Served(loop, world, estate)
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
