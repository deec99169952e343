"""Server-sent events: one line of JSON an event, heartbeats, no buffering on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
from starlette.responses import StreamingResponse

HEADERS = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
HEARTBEAT = b": \n\n"


def data(value: object, *, event: str | None = None, seq: int | None = None) -> bytes:
    """One event; `data: ` with its space, one line, an empty line after it. `seq` is the cursor to come back with."""
    name = b"" if event is None else b"event: " + event.encode() + b"\n"
    cursor = b"" if seq is None else b"id: %d\n" % seq
    return b"%b%bdata: %b\n\n" % (cursor, name, orjson.dumps(value))


def stream(events: AsyncIterator[bytes], *, headers: dict[str, str] | None = None) -> StreamingResponse:
    """A streaming answer. `events` is an async generator that says `HEARTBEAT` when there is nothing else to say."""
    return StreamingResponse(events, media_type="text/event-stream", headers={**HEADERS, **(headers or {})})
