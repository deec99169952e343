"""A load generator for one machine: many keep-alive connections on one loop, one request at a time on each.

It reads only what it must of an answer (status, Content-Length), so that it needs less of a core than the server.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured: requests per second, latencies in ms, answers by status, bytes of the last body.

    `answered` counts the warm-up too: what the server's CPU time is to be divided by. `broken`: connections that the
    server closed on a waiting client.
    """

    rps: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]
    body_bytes: int
    answered: int
    broken: int


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], note: Callable[[int, float, int], None]) -> None:
        self._requests = requests
        self._note = note
        self._head = b""
        self._status = self._length = self._missing = 0
        self._sent_at = 0.0
        self._is_waiting = False
        self.closed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            head = self._head + data
            end = head.find(b"\r\n\r\n")
            if end < 0:
                self._head = head
                return
            self._head = b""
            self._status = int(head[9:12])
            found = _LENGTH.search(head, 0, end)
            self._length = int(found[1]) if found and self._status != HTTPStatus.NOT_MODIFIED else 0
            self._missing = self._length - (len(head) - end - 4)
        if not self._missing:
            self._note(self._status, time.perf_counter() - self._sent_at, self._length)
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(self._is_waiting)

    def _send(self) -> None:
        request = next(self._requests, None)
        self._is_waiting = request is not None
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


async def run(host: str, port: int, requests: Iterator[bytes], *, connections: int, seconds: float) -> Result:
    """Send what `requests` yields over so many connections for so long, after a tenth of the time as warm-up."""
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    warm_until = time.perf_counter() + seconds / 10
    until = warm_until + seconds
    size = answered = 0

    def note(status: int, latency_s: float, length: int) -> None:
        nonlocal size, answered
        answered += 1
        if time.perf_counter() >= warm_until:
            latencies.append(latency_s)
            statuses[status] = statuses.get(status, 0) + 1
            size = length

    def bounded() -> Iterator[bytes]:
        for request in requests:
            if time.perf_counter() >= until:
                return
            yield request

    stream = bounded()
    loop = asyncio.get_running_loop()
    protocols = []
    for _ in range(connections):
        _, protocol = await loop.create_connection(lambda: _Connection(stream, note), host, port)
        protocols.append(protocol)
    broken = sum(await asyncio.gather(*(protocol.closed for protocol in protocols)))
    took_s = time.perf_counter() - warm_until
    latencies.sort()
    count = len(latencies)
    p50, p99 = (
        latencies[min(count - 1, int(count * share))] * 1000 if count else 0.0 for share in (0.5, 0.99)
    )
    return Result(count / took_s, p50, p99, statuses, size, answered, broken)


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """One HTTP/1.1 request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "host: bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
