"""`python -m bench.streams`: how many answers at 50 words a second one core keeps durable and delivers in time.

Every stream is one run and one reader of its chat's events. The latency is from the moment that an event was written
(`at`, before its commit) to its arrival at the reader.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import uvloop

from bench import load, metronome, server
from bench.scenarios import NATIVE
from bench.server import ENGINES, HOST, Running, keep_off

IN_TIME_MS = 100.0
BEGIN_AT_ONCE = 8
WORDS = 10 * 60 * metronome.PER_S
"""Of each answer: more than are measured, as all must speak while the last one begins."""
_AT = re.compile(rb'"type":"run\.delta","at":"([^"]+)"[^\n]*?"text":"([^"]*)"')
SETTINGS = {
    "CHATKEEP_LOCAL_MODEL": "false",
    "CHATKEEP_RUNS_PER_ORGANISATION_MAX": "1000",
    "CHATKEEP_STREAMS_PER_PRINCIPAL_MAX": "5000",
    "CHATKEEP_STREAMS_PER_ORGANISATION_MAX": "5000",
    "CHATKEEP_LOG_REQUESTS": "false",
    "CHATKEEP_DRAIN_S": "2",
}


@dataclass(slots=True)
class Heard:
    """What all readers have got: latencies in ms, words."""

    latencies_ms: list[float] = field(default_factory=list)
    words: int = 0
    is_counting: bool = False


class _Reader(asyncio.Protocol):
    def __init__(self, request: bytes, heard: Heard) -> None:
        self._request = request
        self._heard = heard
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]  # a stream's transport

    def data_received(self, data: bytes) -> None:
        if not self.begun.done():
            self.begun.set_result(None)
        heard = self._heard
        if not heard.is_counting:
            return
        now = time.time()
        for found in _AT.finditer(data):
            heard.latencies_ms.append((now - datetime.fromisoformat(found[1].decode()).timestamp()) * 1000)
            heard.words += found[2].count(b" ")


@dataclass(frozen=True, slots=True)
class Row:
    """One number of streams: latencies in ms, CPU of the server (µs a word, share of a core), memory in KiB each."""

    source: str
    streams: int
    p50_ms: float
    p99_ms: float
    share: float
    cpu_us: float
    memory_kib: float
    core: float

    def line(self) -> str:
        """As text."""
        verdict = "in time" if self.p99_ms < IN_TIME_MS and self.share > 0.97 else "late"
        return (
            f"{self.source:<12}{self.streams:>8}{self.p50_ms:>9.0f}{self.p99_ms:>9.0f}{self.share:>10.0%}"
            f"{self.cpu_us:>10.1f}{self.core:>8.0%}{self.memory_kib:>10.0f}  {verdict}"
        )


async def _begin(running: Running, heard: Heard, turns: asyncio.Semaphore) -> _Reader:
    loop, key = asyncio.get_running_loop(), {"authorization": f"Bearer {running.key}"}
    asked = json.dumps({"message": "go", "stream": True, "max_tokens": WORDS}).encode()
    async with turns:
        chat = (await asyncio.to_thread(running.make, f"{NATIVE}/chats", {}))["id"]
        post = load.request("POST", f"{NATIVE}/chats/{chat}/generate", key, asked)
        _, starter = await loop.create_connection(partial(_Reader, post, Heard()), HOST, running.port)
        await starter.begun
        starter.transport.close()  # a client that goes away stops nothing
        get = load.request("GET", f"{NATIVE}/chats/{chat}/events?after=0", key)
        _, reader = await loop.create_connection(partial(_Reader, get, heard), HOST, running.port)
    return reader


async def measure(running: Running, source: str, streams: int, seconds: float) -> Row:
    """Start so many runs, follow each, count for `seconds`."""
    idle_mb = running.memory_mb()
    heard, turns = Heard(), asyncio.Semaphore(BEGIN_AT_ONCE)
    readers = await asyncio.gather(*(_begin(running, heard, turns) for _ in range(streams)))
    await asyncio.sleep(1)
    cpu_s, began = running.cpu_s(), time.perf_counter()
    heard.is_counting = True
    await asyncio.sleep(seconds)
    heard.is_counting = False
    took_s, cpu_s = time.perf_counter() - began, running.cpu_s() - cpu_s
    memory_kib = (running.memory_mb() - idle_mb) * 1024 / streams
    for reader in readers:
        reader.transport.close()
    found = sorted(heard.latencies_ms) or [0.0]
    p50, p99 = (found[min(len(found) - 1, int(len(found) * share))] for share in (0.5, 0.99))
    expected = streams * metronome.PER_S * took_s
    return Row(
        source,
        streams,
        p50,
        p99,
        heard.words / expected,
        cpu_s / max(heard.words, 1) * 1e6,
        memory_kib,
        cpu_s / took_s,
    )


@contextmanager
def serving(folder: Path, source: str, engine: str) -> Iterator[Running]:
    """chatkeep with the metronome in its own process, or behind HTTP in another on the load's core."""
    with server.databases(engine) as place, ExitStack() as stack:
        settings, metronome_in = {**SETTINGS, **place()}, ("-m", "bench.metronome")
        if source == "HTTP":
            port = server.free_port()
            upstream = subprocess.Popen([sys.executable, *metronome_in, "upstream", str(port)])
            stack.callback(upstream.wait)
            stack.callback(upstream.terminate)
            settings["CHATKEEP_PROVIDERS__METRONOME__BASE_URL"] = f"http://{HOST}:{port}/v1"
            time.sleep(1)
        program = metronome_in if source == "in process" else ()
        yield stack.enter_context(server.chatkeep(folder, program=program, settings=settings))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="bench.streams", description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", help="instead of 200, 400 and (in process) 800")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--source", choices=("in process", "HTTP"), action="append")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="the database")
    said = parser.parse_args()
    keep_off()
    print("source       streams   p50 ms   p99 ms   arrived   µs/word    core  KiB each")
    for source in said.source or ("in process", "HTTP"):
        for streams in said.streams or (200, 400, 800)[: 3 if source == "in process" else 2]:
            with (
                tempfile.TemporaryDirectory(prefix="chatkeep-streams-") as temporary,
                serving(Path(temporary), source, said.engine) as running,
            ):
                time.sleep(1)
                print(uvloop.run(measure(running, source, streams, said.seconds)).line(), flush=True)


if __name__ == "__main__":
    main()
