"""Five hundred hostile connections of each kind against a real server process, with short deadlines.

For each kind: all are gone soon after the deadline, memory does not grow by more than 64 MB, other clients are
served meanwhile, and no task and no file descriptor is left. A kind that is over in a moment still has to leave
nothing behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

import pytest

CONNECTIONS = 500
DEADLINE_S = 0.5
SLACK_S = 4.0  # two for the promise, two for a busy machine
MEMORY_BYTES_MAX = 64 * 1024 * 1024

PROGRAM = """
import asyncio, json, os, sys
from dataclasses import replace
from pathlib import Path
from chatkeep.domain.errors import ChatkeepError
from chatkeep.domain.limits import Limits
from chatkeep.edge.drain import Drain
from chatkeep.edge.server import serve
from chatkeep.web.bodies import guarded

deadline_s = float(sys.argv[1])
limits = replace(
    Limits(), header_deadline_s=deadline_s, keep_alive_idle_s=deadline_s, write_stall_s=deadline_s,
    body_first_byte_s=deadline_s / 2, body_rate_min_bytes_per_s=10_000, body_total_s=deadline_s,
)

async def answer(send, status, body):
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})

def state():
    rss_kb = next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmRSS"))
    return {"files": len(os.listdir("/proc/self/fd")), "tasks": len(asyncio.all_tasks()), "rss": rss_kb * 1024}

async def stream(send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"data: " + b"x" * 4_000, "more_body": True})
        await asyncio.sleep(0)

async def read(receive, send):
    try:
        while (await receive()).get("more_body"):
            pass
        await answer(send, 200, b"read")
    except ChatkeepError as error:
        await answer(send, 400, error.code.encode())

async def websocket(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    try:
        while True:
            await send({"type": "websocket.send", "bytes": b"x" * 4_000})
            await asyncio.sleep(0)
    except OSError:
        pass

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await websocket(receive, send)
    elif scope["path"] == "/state":
        await answer(send, 200, json.dumps(state()).encode())
    elif scope["path"] == "/stream":
        streaming = asyncio.ensure_future(stream(send))
        while (await receive())["type"] != "http.disconnect":
            pass
        streaming.cancel()
    else:
        await read(guarded(receive, scope, limits), send)

drain = Drain(2.0)
sys.exit(serve(app, ("127.0.0.1", 0), limits=limits, drain=drain, on_ready=lambda url: print(url, flush=True)))
"""

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Attack:
    """What a hostile client sends at first, and then again and again; it never reads."""

    first: bytes
    drip: bytes = b""


ATTACKS = {
    "silent": Attack(b""),
    "half a header": Attack(b"GET / HTTP/1.1\r\nHost: a\r\nX-Sl"),
    "dripping header": Attack(b"GET / HTTP/1.1\r\nX-Slow: ", drip=b"a"),
    "blank lines": Attack(b"\r\n", drip=b"\r\n"),
    "idle after an answer": Attack(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "body never begun": Attack(POST + b"Content-Length: 1000\r\n\r\n"),
    "body never ended": Attack(POST + b"Content-Length: 100000\r\n\r\n" + b"a" * 50_000),
    "dripping body": Attack(POST + b"Content-Length: 1000\r\n\r\n", drip=b"a"),
    "chunks without end": Attack(POST + b"Transfer-Encoding: chunked\r\n\r\n", drip=b"1\r\na\r\n"),
    "trailers without end": Attack(POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", drip=b"X-A: b\r\n"),
    "stream never read": Attack(STREAM),
    "stream with pipelined requests": Attack(STREAM + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 10),
    "pipelined flood": Attack(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1_000),
    "websocket never read": Attack(HANDSHAKE),
    "100 kB header": Attack(b"GET / HTTP/1.1\r\nX-Large: " + b"a" * 100_000),
    "1,000 headers": Attack(b"GET / HTTP/1.1\r\n" + b"X-Many: a\r\n" * 1_000 + b"\r\n"),
    "short headers without end": Attack(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 6_000),
    "two lengths": Attack(POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    "length and chunks": Attack(POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    paths = os.pathsep.join(path for path in ["src", *sys.path] if path)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(DEADLINE_S)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert process.stdout is not None
    yield int(process.stdout.readline().removeprefix("http://127.0.0.1:"))
    process.terminate()
    assert process.wait(5) == 0
    process.stdout.close()


async def get(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert received.startswith(b"HTTP/1.1 200 "), received[:200]
    return received


async def state(port: int) -> dict[str, int]:
    received = await get(port, "/state")
    return dict(json.loads(received[received.index(b"{") : received.rindex(b"}") + 1]))


async def settle(port: int) -> dict[str, int]:
    """The state at rest: as soon as only the asking connection is open."""
    return await until_files(port, None, within_s=5)


async def until_files(port: int, files: int | None, *, within_s: float) -> dict[str, int]:
    deadline_s = monotonic() + within_s
    before = await state(port)
    while True:
        await asyncio.sleep(0.05)
        now = await state(port)
        if now["files"] <= files if files is not None else now == before | {"rss": now["rss"]}:
            return now
        assert monotonic() < deadline_s, f"still open: {now}"
        before = now


def hostile_socket(port: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    return client


async def attack_with(client: socket.socket, attack: Attack) -> None:
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(client, attack.first)
        while attack.drip:
            await asyncio.sleep(0.1)
            await loop.sock_sendall(client, attack.drip)
    except ConnectionError:
        pass  # cut off, as it should be


async def most_memory(port: int, over: asyncio.Event) -> int:
    """Asks for the state until it is over: other clients are served meanwhile, or this fails."""
    most = 0
    while not over.is_set():
        most = max(most, (await state(port))["rss"])
        await asyncio.sleep(0.02)
    return most


@pytest.mark.parametrize("kind", ATTACKS)
async def test_hostile_clients_are_gone_soon_and_leave_nothing(port: int, kind: str) -> None:
    before = await settle(port)
    clients = [hostile_socket(port) for _ in range(CONNECTIONS)]
    over = asyncio.Event()
    watching = asyncio.create_task(most_memory(port, over))
    attacking = [asyncio.create_task(attack_with(client, ATTACKS[kind])) for client in clients]
    try:
        after = await until_files(port, before["files"] + 1, within_s=DEADLINE_S * 2 + SLACK_S)
    finally:
        over.set()
        for task in attacking:
            task.cancel()
        most = await watching
        await asyncio.gather(*attacking, return_exceptions=True)
        for client in clients:
            client.close()
    assert most - before["rss"] <= MEMORY_BYTES_MAX
    assert after["tasks"] <= before["tasks"] + 1  # the watcher's own request may be running
