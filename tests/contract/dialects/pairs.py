"""Two servers over the same edge, one of which never answers at once: whatever is asked, both answer alike."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from starlette.types import Receive, Scope, Send

from chatkeep.domain.limits import Limits
from chatkeep.edge.app import Edge
from chatkeep.edge.ready import Asked, Found, Header
from tests.contract.dialects.speaking import Speaker
from tests.unit.edge.serving import Running, running, with_lifespan
from tests.world import Caller, World

MINE = {"x-request-id": "mine"}


class Watched:
    """The edge, counting what it answered at once."""

    def __init__(self, edge: Edge) -> None:
        self.at_once = 0
        self._edge = edge
        self.tell_moment = edge.tell_moment
        self._app = with_lifespan(edge)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def answer_at_once(
        self, asked: Asked, headers: list[Header], moment: Hashable | None, started_s: float
    ) -> Found | None:
        found = self._edge.answer_at_once(asked, headers, moment, started_s)
        self.at_once += found is not None
        return found


class Connection:
    """A kept-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, *requests: bytes) -> list[bytes]:
        """The answers to requests sent in one piece, without their dates."""
        self._writer.write(b"".join(requests))
        return [await self._answer(is_head=request.startswith(b"HEAD")) for request in requests]

    async def _answer(self, *, is_head: bool) -> bytes:
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        body = b"" if is_head or length is None else await self._reader.readexactly(int(length[1]))
        return re.sub(rb"(?m)^date: .*$", b"", head) + body

    def close(self) -> None:
        self._writer.close()


@dataclass
class Pair:
    """The same world behind both servers."""

    world: World
    is_alone: bool
    """Nobody else commits: what is ready stays so. All databases of a PostgreSQL server have one moment."""
    watched: Watched
    quick: Connection
    plain: Connection
    server: Running

    async def alike(self, request: bytes, *, at_once: bool) -> bytes:
        """The answer that both give to this request; `at_once`: whether the quick one had it ready."""
        before = self.watched.at_once
        (quick,) = await self.quick.ask(request)
        was_at_once = self.watched.at_once > before
        assert was_at_once == at_once or (at_once and not self.is_alone), quick[:200]
        (plain,) = await self.plain.ask(request)
        assert quick == plain
        return quick


@pytest.fixture
async def pair(world: World, engine: str) -> AsyncIterator[Pair]:
    edge = world.server.edge
    watched = Watched(edge)
    async with (
        running(watched, Limits()) as quick,
        running(with_lifespan(edge), Limits()) as plain,
        connect(quick) as first,
        connect(plain) as second,
    ):
        yield Pair(world, engine == "sqlite", watched, first, second, quick)


@asynccontextmanager
async def connect(server: Running) -> AsyncIterator[Connection]:
    connection = Connection(*await server.connect())
    try:
        yield connection
    finally:
        connection.close()


def get(speaker: Speaker, chat_id: str, caller: Caller, method: str = "GET", **more: str) -> bytes:
    headers = {"host": "x", **MINE, **speaker.credential(caller.key)}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {speaker.prefix}{speaker.chat(chat_id)} HTTP/1.1\r\n{lines}\r\n".encode()


def status(answer: bytes) -> int:
    return int(answer[9:12])


def etag(answer: bytes) -> str:
    found = re.search(rb"etag: (\S+)", answer)
    assert found is not None
    return found[1].decode()


async def warm(pair: Pair, speaker: Speaker, caller: Caller | None = None) -> tuple[str, bytes]:
    """A chat and a request for it whose answer is ready."""
    caller = caller or pair.world.owner
    chat_id, _ = await speaker.make(pair.world, caller)
    request = get(speaker, chat_id, caller)
    assert status(await pair.alike(request, at_once=False)) == 200
    assert status(await pair.alike(request, at_once=True)) == 200
    return chat_id, request


async def say(pair: Pair, chat_id: str) -> None:
    await pair.world.native(
        "POST", f"/chats/{chat_id}/messages", messages=[{"role": "user", "content": "more"}]
    )
