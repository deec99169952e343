"""A model that says a word so many times a second to everybody: inside chatkeep's process, or behind OpenAI's API.

`python -m bench.metronome serve …` is `chatkeep serve` with it as the only provider, `… upstream PORT` the API alone.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncGenerator
from typing import ClassVar, cast

import uvloop

from chatkeep import wiring
from chatkeep.cli import main
from chatkeep.config import Settings
from chatkeep.models.port import Finished, ModelListing, Piece, Prompt, Provider, TextDelta

PER_S = 50
WORD = "word "
NAME = "metronome"


class Beat:
    """Wakes everybody at once, so that a thousand listeners cost one timer, and each of them one future."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = 0.0

    def wait(self) -> asyncio.Future[None]:
        """Done with the next beat."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._due = self._loop.time()
            self._strike()
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        return future

    def _strike(self) -> None:
        assert self._loop is not None
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        self._due = max(self._due + 1 / PER_S, self._loop.time())
        self._loop.call_at(self._due, self._strike)


class Metronome:
    """Fulfils `Provider`; an answer is as long as `max_tokens` says."""

    name = NAME

    def __init__(self) -> None:
        self._beat = Beat()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """One word a beat."""
        for _ in range(prompt.max_tokens or PER_S):
            await self._beat.wait()
            yield TextDelta(WORD)
        yield Finished(None, "stop")

    async def list_models(self) -> list[ModelListing]:
        """The one model."""
        return [ModelListing(NAME, 100_000)]

    async def aclose(self) -> None:
        """Nothing is open."""


def _providers(settings: Settings) -> dict[str, Provider]:
    return {NAME: Metronome()}  # whatever is configured


class _Upstream(asyncio.Protocol):
    """One connection of an OpenAI-compatible API that says a word a beat: as little work as can be beside the load."""

    speaking: ClassVar[set[_Upstream]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._received = b""
        self._words_left = 0

    def connection_lost(self, exc: Exception | None) -> None:
        self.speaking.discard(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if not found or len(body) < (int(length[1]) if length else 0):
            return
        if head.startswith(b"GET"):
            listing = json.dumps({"data": [{"id": NAME, "context_window": 100_000}]}).encode()
            self._transport.write(_head("application/json") + _chunk(listing) + _chunk(b""))
            self._transport.close()
        else:
            self._words_left = json.loads(body).get("max_tokens") or PER_S
            self._transport.write(_head("text/event-stream"))
            self.speaking.add(self)

    def beat(self) -> None:
        """Say a word."""
        self._words_left -= 1
        self._transport.write(_WORD_CHUNK)
        if not self._words_left:
            self.speaking.discard(self)
            self._transport.write(_LAST_CHUNKS)
            self._transport.close()


def _head(content_type: str) -> bytes:
    lines = [
        "HTTP/1.1 200 OK",
        f"Content-Type: {content_type}",
        "Transfer-Encoding: chunked",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_WORD_CHUNK = _chunk(b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % WORD.encode())
_LAST_CHUNKS = _chunk(
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
) + _chunk(b"")


async def _serve_upstream(port: int) -> None:
    await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", port)
    beat = Beat()
    while True:
        await beat.wait()
        for connection in tuple(_Upstream.speaking):
            connection.beat()


if __name__ == "__main__":
    if sys.argv[1] == "upstream":
        uvloop.run(_serve_upstream(int(sys.argv[2])))
    else:
        wiring.make_providers = _providers
        main()
