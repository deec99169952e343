"""Server-sent events: one line of JSON an event, heartbeats, no buffering on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

import orjson
from starlette.responses import StreamingResponse

HEADERS = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
HEARTBEAT = b": \n\n"


def data(value: object, *, event: str | None = None) -> bytes:
    """One event; `data: ` with its space, one line, an empty line after it."""
    name = b"" if event is None else b"event: " + event.encode() + b"\n"
    return name + b"data: " + orjson.dumps(value) + b"\n\n"


def stream(
    events: AsyncIterator[bytes], *, heartbeat_s: float, headers: dict[str, str] | None = None
) -> StreamingResponse:
    """A streaming answer that sends a comment when nothing was said for `heartbeat_s`.

    `events` is an async generator; it is closed when the stream ends, also when the client goes away before.
    """
    body = _with_heartbeat(cast("AsyncGenerator[bytes, None]", events), heartbeat_s)
    return StreamingResponse(body, media_type="text/event-stream", headers={**HEADERS, **(headers or {})})


async def _with_heartbeat(events: AsyncGenerator[bytes, None], heartbeat_s: float) -> AsyncIterator[bytes]:
    following: asyncio.Task[bytes] | None = None
    try:
        while True:
            following = asyncio.ensure_future(anext(events))
            while not (await asyncio.wait({following}, timeout=heartbeat_s))[0]:
                yield HEARTBEAT
            try:
                yield following.result()
            except StopAsyncIteration:
                return
    finally:
        # Whoever goes away ends the generator: where it waits by a cancellation, else by closing it. Nothing here may
        # suspend for long: Starlette cancels again and again until its stream has come to an end.
        if following is not None and not following.done():
            following.cancel()
        else:
            await events.aclose()
