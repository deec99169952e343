"""The real server inside the test's own loop, and a raw client to misuse it with."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from starlette.types import ASGIApp, Receive, Scope, Send

from chatkeep.domain.limits import Limits
from chatkeep.edge.drain import Drain
from chatkeep.edge.protocol import GuardedHttpProtocol
from chatkeep.edge.server import EdgeServer, listen

QUICK = replace(
    Limits(),
    header_deadline_s=0.2,
    keep_alive_idle_s=0.3,
    write_stall_s=0.3,
    header_bytes_max=2_000,
    header_count_max=20,
)


@dataclass(slots=True)
class Running:
    server: EdgeServer
    port: int
    drain: Drain

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    def open_connections(self) -> int:
        return len(self.server.server_state.connections)

    async def empty(self, within_s: float = 1.0) -> None:
        """Wait until it holds no connection and no request."""
        state = self.server.server_state
        async with asyncio.timeout(within_s):
            while state.connections or state.tasks:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)

    async def stuck(self, within_s: float = 1.0) -> list[GuardedHttpProtocol]:
        """Wait until an answer waits for its client; the connections where one does."""
        async with asyncio.timeout(within_s):
            while True:
                connections = [each for each in self._http_connections() if each.flow.write_paused]
                if connections:
                    return connections
                await asyncio.sleep(0.005)

    def _http_connections(self) -> list[GuardedHttpProtocol]:
        return [
            each for each in self.server.server_state.connections if isinstance(each, GuardedHttpProtocol)
        ]

    def unsent_bytes(self) -> int:
        connections = self.server.server_state.connections
        return sum(connection.transport.get_write_buffer_size() for connection in connections)


@contextlib.asynccontextmanager
async def running(app: ASGIApp, limits: Limits = QUICK, drain_s: float = 1.0) -> AsyncIterator[Running]:
    """`app` behind the real server on a port of the system's choice, until the block ends."""
    drain = Drain(drain_s)
    ready = asyncio.Event()
    server = EdgeServer(app, limits=limits, drain=drain, on_ready=lambda _url: ready.set())
    listener = listen("127.0.0.1", 0)
    port: int = listener.getsockname()[1]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        yield Running(server, port, drain)
    finally:
        server.begin_drain()
        await serving


def with_lifespan(handle: ASGIApp) -> ASGIApp:
    """An application that starts and stops without work, and answers by `handle`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await handle(scope, receive, send)
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    return app


async def answer(send: Send, body: bytes, status: int = 200) -> None:
    """A whole answer with its length."""
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


def small_window(port: int) -> socket.socket:
    """A connected client whose window is small, so that a server soon cannot send."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    return client
