"""A load generator for one machine: many keep-alive connections on one loop, one request at a time on each.

It reads only what it must of an answer (status, Content-Length), so that it needs less of a core than the server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured: requests per second, latencies in ms, and answers by status."""

    rps: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]
    body_bytes: int


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], note: Callable[[int, float, int], None]) -> None:
        self._requests = requests
        self._note = note
        self._buffer = b""
        self._sent_at = 0.0
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = buffer
            return
        at = buffer.find(b"content-length: ", 0, end)
        length = int(buffer[at + 16 : buffer.find(b"\r\n", at)]) if at >= 0 else 0
        if len(buffer) < end + 4 + length:
            self._buffer = buffer
            return
        self._buffer = b""
        self._note(int(buffer[9:12]), time.perf_counter() - self._sent_at, length)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def _send(self) -> None:
        request = next(self._requests, None)
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
    size = 0

    def note(status: int, latency_s: float, length: int) -> None:
        nonlocal size
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
    await asyncio.gather(*(protocol.closed for protocol in protocols))
    latencies.sort()
    count = len(latencies)
    if not count:
        return Result(0, 0, 0, statuses, size)
    at = [latencies[min(count - 1, int(count * share))] * 1000 for share in (0.5, 0.99)]
    return Result(count / seconds, at[0], at[1], statuses, size)


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """One HTTP/1.1 request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "host: bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
