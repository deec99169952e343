"""A GET that waits to be told the store's moment: it is answered at once if its answer is ready then, and by the
application, once and in its turn, whenever it cannot wait or the answer is not ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import dataclass

import pytest
from starlette.types import Receive, Scope, Send

from chatkeep.edge.ready import Asked, Found, Header
from tests.unit.edge.application import App
from tests.unit.edge.serving import QUICK, Running, running, with_lifespan

GET = b"GET /first HTTP/1.1\r\nhost: x\r\n\r\n"
READY = b"ready"
BEGUN = b"hello"


class Held:
    """An application whose store tells its moment when the test says so."""

    def __init__(self) -> None:
        self.app = App()
        self.listeners: list[Callable[[Hashable | None], object]] = []
        self._with_lifespan = with_lifespan(self.app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._with_lifespan(scope, receive, send)

    def tell_moment(self, listener: Callable[[Hashable | None], object]) -> None:
        self.listeners.append(listener)

    def answer_at_once(
        self, asked: Asked, headers: list[Header], moment: Hashable | None, started_s: float
    ) -> Found | None:
        if moment != "now":
            return None
        return 200, b"content-length: %d\r\n\r\n" % len(READY), READY

    @property
    def paths(self) -> list[str]:
        """Of the requests that the application was asked."""
        return [scope["path"] for scope in self.app.scopes]

    async def asked(self, count: int = 1) -> None:
        """Wait until so many requests wait for the moment."""
        async with asyncio.timeout(5):
            while len(self.listeners) < count:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.001)

    def tell(self, moment: Hashable | None) -> None:
        listeners, self.listeners = self.listeners, []
        for listener in listeners:
            listener(moment)


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, piece: bytes) -> None:
        self.writer.write(piece)

    async def body(self) -> bytes:
        """Of the next answer."""
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            return await self.reader.readexactly(
                int(head.lower().partition(b"content-length: ")[2].split()[0])
            )


async def send_behind(second: bytes, held: Held, client: Client, *, in_one_piece: bool) -> None:
    """Send a request that is held, and something behind it."""
    if in_one_piece:
        client.send(GET + second)
    else:
        client.send(GET)
        await held.asked()
        client.send(second)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
async def server(held: Held) -> AsyncIterator[Running]:
    async with running(held) as server:
        yield server


@pytest.fixture
async def client(server: Running) -> AsyncIterator[Client]:
    client = Client(*await server.connect())
    yield client
    client.writer.close()


async def test_what_is_ready_at_the_moment_is_answered_without_the_application(
    held: Held, client: Client
) -> None:
    for _ in range(2):
        client.send(GET)
        await held.asked()
        held.tell("now")
        assert await client.body() == READY
    assert held.paths == []


@pytest.mark.parametrize("moment", ["another", None])
async def test_what_is_not_ready_is_the_applications_with_the_moment_from_before(
    held: Held, client: Client, moment: str | None
) -> None:
    client.send(GET)
    await held.asked()
    assert held.paths == []
    held.tell(moment)
    assert await client.body() == BEGUN
    (scope,) = held.app.scopes
    assert scope["state"]["moment"] == moment
    assert scope["state"]["asked"] == (b"/first", ((b"host", b"x"),))


@pytest.mark.parametrize("in_one_piece", [True, False])
@pytest.mark.parametrize(
    ("second", "body"),
    [
        (b"GET /second HTTP/1.1\r\nhost: x\r\n\r\n", BEGUN),
        (b"GET /second HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", BEGUN),
        (b"POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody", b"read 4"),
    ],
    ids=["get", "last", "post"],
)
async def test_the_next_request_does_not_wait_for_the_moment_of_the_one_before(
    held: Held, client: Client, in_one_piece: bool, second: bytes, body: bytes
) -> None:
    await send_behind(second, held, client, in_one_piece=in_one_piece)
    assert await client.body() == BEGUN
    assert await client.body() == body
    assert held.paths == ["/first", second.split()[1].decode()]
    assert "asked" not in held.app.scopes[0]["state"]
    held.tell("now")  # nobody waits any more
    if b"close" in second:
        assert await client.reader.read(1) == b""
    else:
        client.send(GET)
        await held.asked()
        held.tell("now")
        assert await client.body() == READY


async def test_a_moment_that_comes_late_is_not_taken_for_the_next_request(held: Held, client: Client) -> None:
    client.send(GET)
    await held.asked()
    (late,) = held.listeners
    client.send(GET)  # another with the same words
    assert await client.body() == BEGUN
    assert await client.body() == BEGUN
    client.send(GET)
    await held.asked(2)
    late("now")
    await asyncio.sleep(0.02)
    assert len(held.paths) == 2
    held.listeners[1]("another")
    assert await client.body() == BEGUN


async def test_who_has_gone_is_not_answered(held: Held, client: Client, server: Running) -> None:
    client.send(GET)
    await held.asked()
    client.writer.transport.abort()
    await server.empty()
    held.tell("another")
    held.tell("now")
    await asyncio.sleep(0.02)
    assert held.paths == []


async def test_a_server_that_drains_answers_it(held: Held, client: Client, server: Running) -> None:
    client.send(GET)
    await held.asked()
    server.server.begin_drain()
    assert await client.body() == BEGUN
    assert await client.reader.read() == b""


@pytest.mark.parametrize(
    ("broken", "in_one_piece"),
    [(b"no request\r\n\r\n", True), (b"no request\r\n\r\n", False), (b"\r\n" * 1_500, False)],
    ids=["at once", "later", "blank lines"],
)
async def test_a_broken_request_behind_it_ends_the_connection_once(
    held: Held, client: Client, broken: bytes, in_one_piece: bool
) -> None:
    await send_behind(broken, held, client, in_one_piece=in_one_piece)
    async with asyncio.timeout(5):
        told = await client.reader.readuntil(b"\r\n\r\n")
        held.tell("now")
        assert told.startswith(b"HTTP/1.1 4")  # as any that was not yet being answered
        assert (await client.reader.read()).count(b"HTTP/1.1") == 0


async def test_a_client_that_does_not_read_waits_for_the_application(
    held: Held, client: Client, server: Running
) -> None:
    client.send(GET)
    await held.asked()
    (connection,) = server._http_connections()
    connection.pause_writing()
    held.tell("now")
    connection.resume_writing()
    assert await client.body() == BEGUN


async def test_it_has_no_deadline_while_it_waits_and_an_idle_one_after(
    held: Held, client: Client, server: Running
) -> None:
    client.send(GET)
    await held.asked()
    await asyncio.sleep(2 * QUICK.keep_alive_idle_s)
    held.tell("now")
    assert await client.body() == READY
    await server.empty(1.0)
    assert await client.reader.read() == b""
