"""A model that says a word so many times a second to everybody: inside chatkeep's process, or behind OpenAI's API.

`python -m bench.metronome serve …` is `chatkeep serve` with it as the only provider, `… upstream PORT` the API alone.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator

from aiohttp import web

from chatkeep import wiring
from chatkeep.cli import main
from chatkeep.config import Settings
from chatkeep.models.port import Finished, ModelListing, Piece, Prompt, Provider, TextDelta

PER_S = 50
WORD = "word "
NAME = "metronome"
_CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % WORD.encode()


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


def _upstream() -> web.Application:
    beat = Beat()

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": NAME, "context_window": 100_000}]})

    async def complete(request: web.Request) -> web.StreamResponse:
        words = (await request.json()).get("max_tokens") or PER_S
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(words):
            await beat.wait()
            await response.write(_CHUNK)
        await response.write(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
        await response.write(b"data: [DONE]\n\n")
        return response

    application = web.Application()
    application.router.add_get("/v1/models", models)
    application.router.add_post("/v1/chat/completions", complete)
    return application


if __name__ == "__main__":
    if sys.argv[1] == "upstream":
        web.run_app(_upstream(), host="127.0.0.1", port=int(sys.argv[2]), print=None)
    else:
        wiring.make_providers = _providers
        main()
