"""The bounds of a request's body, with a client that can be slow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from starlette.types import Message, Receive, Scope

from chatkeep.domain.errors import BodyTooLarge, BodyTooSlow, UnsupportedMediaType
from chatkeep.domain.limits import Limits
from chatkeep.web.bodies import guarded

LIMITS = replace(
    Limits(), body_bytes_max=100, body_first_byte_s=0.1, body_rate_min_bytes_per_s=100, body_total_s=0.4
)


class Client:
    """Sends chunks, each after its pause, then nothing more or the end of the body."""

    def __init__(self, chunks: Sequence[tuple[float, bytes]], *, ends: bool = True) -> None:
        self._chunks = list(chunks)
        self._ends = ends
        self.calls = 0

    async def receive(self) -> Message:
        self.calls += 1
        if not self._chunks:
            await asyncio.Event().wait()
        pause_s, chunk = self._chunks.pop(0)
        if pause_s:
            await asyncio.sleep(pause_s)
        return {"type": "http.request", "body": chunk, "more_body": bool(self._chunks) or not self._ends}


def scope_of(method: str = "POST", **headers: str) -> Scope:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "headers": pairs}


async def read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            return body


async def seconds_until(error: type[Exception], receive: Receive) -> float:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    with pytest.raises(error):
        await read(receive)
    return loop.time() - began_s


class TestSize:
    async def test_at_the_limit_and_one_over_by_content_length(self) -> None:
        client = Client([(0, b"a" * 100)])
        assert len(await read(guarded(client.receive, scope_of(content_length="100"), LIMITS))) == 100
        client = Client([(0, b"a" * 101)])
        with pytest.raises(BodyTooLarge, match="larger than 100 bytes"):
            await read(guarded(client.receive, scope_of(content_length="101"), LIMITS))
        assert client.calls == 0, "refused before a byte is asked for (Expect: 100-continue)"

    async def test_at_the_limit_and_one_over_by_counting(self) -> None:
        client = Client([(0, b"a" * 60), (0, b"a" * 40)])
        assert len(await read(guarded(client.receive, scope_of(), LIMITS))) == 100
        client = Client([(0, b"a" * 60), (0, b"a" * 41)])
        with pytest.raises(BodyTooLarge):
            await read(guarded(client.receive, scope_of(), LIMITS))

    async def test_path_with_a_larger_limit(self) -> None:
        client = Client([(0, b"a" * 150)])
        assert await read(guarded(client.receive, scope_of(content_length="150"), LIMITS, bytes_max=150))
        client = Client([(0, b"a" * 151)])
        with pytest.raises(BodyTooLarge, match="150"):
            await read(guarded(client.receive, scope_of(), LIMITS, bytes_max=150))

    async def test_after_a_refusal_the_disconnect_is_still_told(self) -> None:
        messages: list[Message] = [
            {"type": "http.request", "body": b"a" * 101, "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            return messages.pop(0)

        guard = guarded(receive, scope_of(), LIMITS)
        with pytest.raises(BodyTooLarge):
            await guard()
        assert await guard() == {"type": "http.disconnect"}


class TestEncoding:
    @pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "identity, gzip"])
    async def test_compressed_body_is_refused(self, encoding: str) -> None:
        client = Client([(0, b"a")])
        with pytest.raises(UnsupportedMediaType):
            await read(guarded(client.receive, scope_of(content_encoding=encoding), LIMITS))
        assert client.calls == 0

    @pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
    async def test_plain_body_is_taken(self, encoding: str) -> None:
        client = Client([(0, b"a")])
        assert await read(guarded(client.receive, scope_of(content_encoding=encoding), LIMITS)) == b"a"


class TestPace:
    async def test_no_first_byte(self) -> None:
        took_s = await seconds_until(BodyTooSlow, guarded(Client([]).receive, scope_of(), LIMITS))
        assert LIMITS.body_first_byte_s <= took_s < LIMITS.body_first_byte_s + 0.1

    async def test_body_that_stops(self) -> None:
        client = Client([(0, b"a" * 10)], ends=False)
        took_s = await seconds_until(BodyTooSlow, guarded(client.receive, scope_of(), LIMITS))
        assert 0.2 <= took_s < 0.3  # the first byte's time, and ten bytes' worth at the minimum rate

    async def test_body_below_the_minimum_rate(self) -> None:
        client = Client([(0.02, b"a")] * 100, ends=False)
        took_s = await seconds_until(BodyTooSlow, guarded(client.receive, scope_of(), LIMITS))
        assert took_s < 0.3

    async def test_body_above_the_minimum_rate_but_without_end(self) -> None:
        client = Client([(0.02, b"aaa")] * 30, ends=False)
        took_s = await seconds_until(BodyTooSlow, guarded(client.receive, scope_of(), LIMITS))
        assert LIMITS.body_total_s <= took_s < LIMITS.body_total_s + 0.1

    async def test_steady_body_is_taken(self) -> None:
        client = Client([(0.02, b"a" * 10)] * 10)
        assert len(await read(guarded(client.receive, scope_of(), LIMITS))) == 100

    async def test_our_own_slowness_does_not_count(self) -> None:
        client = Client([(0, b"a"), (0.02, b"b"), (0.02, b"c")])
        receive = guarded(client.receive, scope_of(), LIMITS)
        for _ in range(3):
            await receive()
            await asyncio.sleep(0.15)

    async def test_waiting_for_a_disconnect_has_no_deadline(self) -> None:
        receive = guarded(Client([(0, b"all")]).receive, scope_of(), LIMITS)
        await read(receive)
        waiting = asyncio.ensure_future(receive())
        done, _ = await asyncio.wait([waiting], timeout=LIMITS.body_first_byte_s * 2)
        assert not done
        waiting.cancel()

    async def test_cancellation_is_not_taken_for_slowness(self) -> None:
        reading = asyncio.create_task(read(guarded(Client([]).receive, scope_of(), LIMITS)))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_requests_without_body_are_left_alone(method: str) -> None:
    receive = Client([]).receive
    assert guarded(receive, scope_of(method), LIMITS) == receive
