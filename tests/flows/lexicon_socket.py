"""A client of Lexicon's WebSocket, over somebody else's library, at a server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlencode

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from chatkeep.domain.limits import Limits
from tests.unit.edge.serving import Running, running, with_lifespan
from tests.world import Caller, World

PATIENCE_S = 15.0


class Visitor:
    """One open socket; `seen` are all frames so far."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.seen: list[dict[str, Any]] = []

    async def next(self) -> dict[str, Any]:
        """The next frame."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                self.seen.append(orjson.loads(await self.connection.recv()))
        except TimeoutError:
            raise AssertionError(f"nothing came after {self.seen}") from None
        return self.seen[-1]

    async def until(self, kind: str, *, despite_errors: bool = False) -> list[dict[str, Any]]:
        """The frames up to the first of this kind, without errors before it unless they are expected."""
        found = [await self.next()]
        while found[-1]["event_type"] != kind:
            assert despite_errors or found[-1]["event_type"] != "error", found
            found.append(await self.next())
        return found

    async def say(self, content: str, **more: Any) -> None:
        await self.send({"content": content, **more})

    async def send(self, frame: object) -> None:
        await self.connection.send(orjson.dumps(frame).decode())

    async def closed(self) -> int:
        """The code that it is closed with, once all frames were read."""
        with suppress(ConnectionClosed):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    self.seen.append(orjson.loads(await self.connection.recv()))
        assert self.connection.close_code is not None
        return self.connection.close_code


class Sockets:
    """The server's WebSockets."""

    def __init__(self, served: Running, world: World) -> None:
        self._served = served
        self._world = world

    @asynccontextmanager
    async def visit(
        self,
        chat_id: str,
        user_id: str = "user123",
        caller: Caller | None = None,
        *,
        prefix: str = "",
        by_header: bool = False,
        **options: Any,
    ) -> AsyncIterator[Visitor]:
        """A connection; an empty parameter is left out."""
        said = {"api_key": (caller or self._world.owner).key, "user_id": user_id, "chat_id": chat_id}
        if "after" in options:
            said["after"] = options.pop("after")
        if "key" in options:
            said["api_key"] = options.pop("key")
        names = {"api_key": "X-API-Key", "user_id": "X-User-ID", "chat_id": "X-Chat-ID"}
        headers = {names[name]: value for name, value in said.items() if by_header and name in names}
        query = urlencode({name: value for name, value in said.items() if not by_header and value != ""})
        url = f"ws://127.0.0.1:{self._served.port}{prefix}/ws/chat" + (f"?{query}" if query else "")
        headers.update(options.pop("headers", {}))
        async with connect(url, additional_headers=headers, **options) as connection:
            yield Visitor(connection)

    async def refusal(self, chat_id: str, *args: Any, **options: Any) -> tuple[dict[str, Any], int]:
        """The one frame that comes before the server closes, and its code."""
        async with self.visit(chat_id, *args, **options) as visitor:
            code = await visitor.closed()
        (frame,) = visitor.seen
        return frame, code


@asynccontextmanager
async def sockets_of(world: World) -> AsyncIterator[Sockets]:
    """A world's server on a port of its own."""
    async with running(with_lifespan(world.server.edge), Limits()) as served:
        yield Sockets(served, world)
