"""Server-sent events: one line of JSON an event, heartbeats, no buffering on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import orjson
from starlette.requests import Request
from starlette.responses import StreamingResponse

from chatkeep.domain.event import Event
from chatkeep.runtime.bell import Offer

HEADERS = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
HEARTBEAT = b": \n\n"
WRITE_NOW = "chatkeep.write_now"
Write = Callable[[bytes], bool]
"""Writes a piece of a body that is under way at once, or says that it cannot (the client is slow, or gone)."""


def data(value: object, *, event: str | None = None, seq: int | None = None) -> bytes:
    """One event; `data: ` with its space, one line, an empty line after it. `seq` is the cursor to come back with."""
    name = b"" if event is None else b"event: " + event.encode() + b"\n"
    cursor = b"" if seq is None else b"id: %d\n" % seq
    return b"%b%bdata: %b\n\n" % (cursor, name, orjson.dumps(value))


def stream(events: AsyncIterator[bytes], *, headers: dict[str, str] | None = None) -> StreamingResponse:
    """A streaming answer. `events` is an async generator that says `HEARTBEAT` when there is nothing else to say."""
    return StreamingResponse(events, media_type="text/event-stream", headers={**HEADERS, **(headers or {})})


def offering(request: Request, frame_of: Callable[[Event], bytes]) -> Offer:
    """Takes events past all layers to the request's connection, for a stream whose every piece so far is sent.

    Where the server has no such way (it is `edge.protocol`'s ASGI extension), no event is taken.
    """
    write: Write | None = (request.scope.get("extensions") or {}).get(WRITE_NOW)
    return lambda event: write is not None and write(frame_of(event))
