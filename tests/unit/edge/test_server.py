"""Starting, draining and ending a real server process by its signals."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import pytest
import uvicorn

from chatkeep.domain.limits import Limits
from chatkeep.edge.drain import Drain
from chatkeep.edge.server import UNSENT_BYTES_MAX, listen, serve
from tests.unit.edge.serving import with_lifespan

PROGRAM = """
import asyncio, sys, time
from chatkeep.domain.limits import Limits
from chatkeep.edge.drain import Drain
from chatkeep.edge.server import serve
from tests.unit.edge.serving import answer

drain = Drain(float(sys.argv[1]))

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if sys.argv[2] == "fail":
            await send({"type": "lifespan.startup.failed", "message": "no store"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("closing", flush=True)
        if sys.argv[2] == "stuck":
            await asyncio.sleep(60)
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await drain.wait()
        await send({"type": "http.response.body", "body": b"cursor 7"})
    elif scope["path"] == "/slow":
        print("slow", flush=True)
        await drain.wait()
        await asyncio.sleep(0.2)
        await answer(send, b"done")
    elif scope["path"] == "/never":
        print("never", flush=True)
        await asyncio.sleep(60)
    elif scope["path"] == "/busy":
        print("busy", flush=True)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            pass
    else:
        await answer(send, b"hello")

drain.on_begin(lambda: print("draining", flush=True))
code = serve(app, ("127.0.0.1", 0), limits=Limits(), drain=drain, on_ready=lambda url: print(url, flush=True))
print("code", code, flush=True)
sys.exit(code)
"""


@dataclass
class Process:
    popen: subprocess.Popen[str]
    port: int

    def line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def request(self, path: str) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return client

    def end(self) -> int:
        return self.popen.wait(5)


def read_until(client: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        chunk = client.recv(4096)
        assert chunk, received
        received += chunk
    return received


@contextlib.contextmanager
def started(drain_s: float = 2.0, lifespan: str = "plain") -> Iterator[Process]:
    command = [sys.executable, "-c", PROGRAM, str(drain_s), lifespan]
    popen = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": PATH},
    )
    process = Process(popen, 0)
    try:
        if lifespan != "fail":
            process.port = int(process.line().removeprefix("http://127.0.0.1:"))
        yield process
    finally:
        popen.kill()
        popen.communicate()


PATH = os.pathsep.join(path for path in ["src", ".", *sys.path] if path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_with_nothing_to_do_ends_with_0(number: int) -> None:
    with started() as process:
        client = process.request("/")
        read_until(client, b"hello")
        begun_s = monotonic()
        process.popen.send_signal(number)
        assert process.end() == 0
        assert monotonic() - begun_s < 1.0
        assert [process.line() for _ in range(3)] == ["draining", "closing", "code 0"]
        assert client.recv(1) == b""
        client.close()


def test_streams_end_themselves_first_and_requests_are_finished() -> None:
    with started() as process:
        stream, slow = process.request("/stream"), process.request("/slow")
        read_until(stream, b"begun\r\n")
        assert process.line() == "slow"
        process.popen.terminate()
        assert b"cursor 7" in read_until(stream, b"0\r\n\r\n")
        assert read_until(slow, b"done").startswith(b"HTTP/1.1 200 ")
        assert process.end() == 0
        stream.close()
        slow.close()


def test_no_connection_is_taken_after_the_signal() -> None:
    with started() as process:
        slow = process.request("/slow")
        assert process.line() == "slow"
        process.popen.terminate()
        assert process.line() == "draining"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", process.port))
        assert read_until(slow, b"done")
        slow.close()


def test_request_that_does_not_end_is_cut_off_in_time() -> None:
    with started(drain_s=0.8) as process:
        client = process.request("/never")
        assert process.line() == "never"
        begun_s = monotonic()
        process.popen.terminate()
        assert process.end() == 0
        assert monotonic() - begun_s < 0.8 + 0.5  # the interpreter's own end included
        client.close()


def test_second_signal_ends_at_once() -> None:
    with started(drain_s=10) as process:
        client = process.request("/never")
        assert process.line() == "never"
        process.popen.terminate()
        assert process.line() == "draining"
        begun_s = monotonic()
        process.popen.terminate()
        assert process.end() == 128 + signal.SIGTERM
        assert monotonic() - begun_s < 0.5
        client.close()


def test_second_signal_ends_even_a_busy_loop() -> None:
    with started(drain_s=10) as process:
        client = process.request("/busy")
        assert process.line() == "busy"
        process.popen.terminate()
        sleep(0.1)  # two signals sent at once are one
        process.popen.send_signal(signal.SIGINT)
        assert process.end() == 128 + signal.SIGINT
        client.close()


def test_process_that_cannot_stop_ends_with_1_and_says_so() -> None:
    with started(drain_s=0.4, lifespan="stuck") as process:
        process.popen.terminate()
        assert process.end() == 1
        assert process.popen.stderr is not None
        assert "did not stop within its drain time" in process.popen.stderr.read()


def test_application_that_does_not_start_ends_with_3() -> None:
    with started(lifespan="fail") as process:
        assert process.line() == "code 3"
        assert process.end() == 3


@pytest.fixture
def plain_serve() -> Callable[..., int]:
    async def handle(scope: object, receive: object, send: object) -> None:
        raise AssertionError("nothing is asked")

    def run(host: str, port: int) -> int:
        return serve(
            with_lifespan(handle),
            (host, port),
            limits=Limits(),
            drain=Drain(),
            on_ready=lambda _url: None,
        )

    return run


def test_taken_port_is_told_in_one_sentence(
    plain_serve: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert plain_serve("127.0.0.1", port) == 1
    assert capsys.readouterr().err == f"Cannot listen on 127.0.0.1:{port}: address already in use.\n"


def test_unknown_host_is_told_in_one_sentence(
    plain_serve: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert plain_serve("203.0.113.7", 8000) == 1
    assert capsys.readouterr().err == "Cannot listen on 203.0.113.7:8000: cannot assign requested address.\n"


def test_connections_inherit_the_bound_on_unsent_bytes() -> None:
    with listen("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            connection, _ = listener.accept()
            with connection:
                option = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    assert option == UNSENT_BYTES_MAX


def test_a_name_with_both_families_listens_on_ipv4() -> None:
    with listen("localhost", 0) as listener:
        assert listener.family == socket.AF_INET


def test_uvicorn_is_the_version_that_was_read() -> None:
    """See docs/adr/0003-uvicorn-protocol-subclass.md before changing it."""
    assert uvicorn.__version__ == "0.54.0"
    assert f"uvicorn=={uvicorn.__version__} " in Path("requirements/run.lock").read_text()
