"""Server-sent events: framing, and that nothing is left running when the client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from chatkeep.web import sse

PATIENCE_S = 5.0


class Source:
    """Events that are given out one by one when the test says so, and whether the generator was ended."""

    def __init__(self, *events: bytes) -> None:
        self.gate = asyncio.Semaphore(0)
        self.is_closed = asyncio.Event()
        self._events = events

    async def __call__(self) -> AsyncIterator[bytes]:
        try:
            for event in self._events:
                await self.gate.acquire()
                yield event
        finally:
            self.is_closed.set()


def body_of(source: Callable[[], AsyncIterator[bytes]]) -> Any:
    return sse.stream(source()).body_iterator


def test_an_event_is_one_line_of_json_between_name_and_empty_line() -> None:
    assert sse.data({"text": "a\nb\u2028ü"}) == 'data: {"text":"a\\nb\u2028ü"}\n\n'.encode()
    assert sse.data([1], event="done") == b"event: done\ndata: [1]\n\n"
    assert sse.data([1], event="done", seq=7) == b"id: 7\nevent: done\ndata: [1]\n\n"
    assert sse.data([1], seq=0) == b"id: 0\ndata: [1]\n\n"


def test_a_heartbeat_is_a_comment() -> None:
    assert sse.HEARTBEAT.startswith(b":")
    assert sse.HEARTBEAT.endswith(b"\n\n")


async def test_the_answer_is_not_buffered_or_kept() -> None:
    response: Any = sse.stream(Source()(), headers={"location": "/x"})
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["location"] == "/x"
    await response.body_iterator.aclose()


async def test_events_come_through_in_order_to_the_end() -> None:
    source = Source(b"1", b"2", b"3")
    for _ in range(3):
        source.gate.release()
    assert [event async for event in body_of(source)] == [b"1", b"2", b"3"]
    assert source.is_closed.is_set()


async def test_a_reader_cancelled_while_it_waits_ends_the_source() -> None:
    source = Source(b"1")
    reader = asyncio.create_task(anext(body_of(source)))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await asyncio.wait_for(source.is_closed.wait(), PATIENCE_S)


async def test_a_reader_that_stops_between_two_events_ends_the_source() -> None:
    source = Source(b"1", b"2")
    kept = source()  # held, so that it is not the garbage collector that ends it
    body = body_of(lambda: kept)
    source.gate.release()
    assert await anext(body) == b"1"
    await body.aclose()
    assert source.is_closed.is_set()
    with pytest.raises(StopAsyncIteration):
        await anext(kept)


async def test_an_error_of_the_source_is_the_readers() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"1"
        raise ZeroDivisionError

    body = body_of(broken)
    assert await anext(body) == b"1"
    with pytest.raises(ZeroDivisionError):
        await anext(body)


async def test_a_client_that_hangs_up_ends_the_source() -> None:
    """As Starlette does it: the disconnect is news on `receive` while the stream waits."""
    source = Source(b"1", b"2")
    source.gate.release()
    gone = asyncio.Event()
    sent: list[Any] = []

    async def receive() -> Any:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if message.get("body") == b"1":
            gone.set()

    response = sse.stream(source())
    await asyncio.wait_for(
        response({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send), PATIENCE_S
    )
    await asyncio.wait_for(source.is_closed.wait(), PATIENCE_S)
    assert [message["body"] for message in sent if message["type"] == "http.response.body"] == [b"1"]
