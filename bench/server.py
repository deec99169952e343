"""Servers to be measured: chatkeep itself, a bare ASGI application, nginx. Each on core 0."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, LOAD_CORE = 0, 1
START_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_BARE = """
import sys, uvicorn
body = open(sys.argv[2], "rb").read()
head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})
options = {"loop": "uvloop", "http": "httptools", "lifespan": "off", "access_log": False, "log_level": "warning"}
uvicorn.run(app, port=int(sys.argv[1]), **options)
"""
_NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_cpu_affinity 1;
events {{ worker_connections 1024; }}
http {{ access_log off; sendfile on; keepalive_requests 100000000;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; root {folder}; }} }}
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A server: its port, its process ids, and chatkeep's owner key."""

    port: int
    pids: tuple[int, ...]
    key: str = ""
    start_s: float = 0.0

    def cpu_s(self) -> float:
        """User and system time so far."""
        total = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / _TICKS

    def memory_mb(self) -> float:
        """Resident memory."""
        found = [re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in self.pids]
        return sum(int(each[1]) for each in found if each) / 1024


@contextmanager
def chatkeep() -> Iterator[Running]:
    """`chatkeep serve` on a fresh data folder, without the offline model and without a log of requests."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-c",
            "from chatkeep.cli import main; main()",
            "serve",
            "--port",
            str(_free_port()),
        ]
        others = {name: value for name, value in os.environ.items() if not name.startswith("CHATKEEP_")}
        settings = {"CHATKEEP_LOCAL_MODEL": "false", "CHATKEEP_LOG_LEVEL": "error"}
        began = time.perf_counter()
        with _process(
            [*command, "--data", f"{folder}/data"], {**others, **settings}, Path(folder) / "out"
        ) as process:
            port = int(command[-1])
            start_s = _until_up(port, "/health", began)
            key = re.search(r"CHATKEEP_KEY=(\S+)", _said(Path(folder) / "out"))
            assert key is not None
            yield Running(port, (process.pid,), key[1], start_s)


@contextmanager
def bare(body: bytes) -> Iterator[Running]:
    """uvicorn with an application that answers these bytes to everything: what the same server costs without us."""
    with tempfile.TemporaryDirectory() as folder:
        file, port = Path(folder) / "body", _free_port()
        file.write_bytes(body)
        with _process(
            [sys.executable, "-c", _BARE, str(port), str(file)], dict(os.environ), Path(folder) / "out"
        ) as process:
            _until_up(port, "/", time.perf_counter())
            yield Running(port, (process.pid,))


@contextmanager
def nginx(body: bytes) -> Iterator[Running | None]:
    """nginx with one worker that serves these bytes from disk as `/body`; None where it is not installed."""
    program = shutil.which("nginx")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        (Path(folder) / "body").write_bytes(body)
        Path(folder).chmod(0o755)
        config = Path(folder) / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, port=port))
        with _process(
            [program, "-c", str(config), "-p", folder], dict(os.environ), Path(folder) / "out"
        ) as process:
            _until_up(port, "/body", time.perf_counter())
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            yield Running(port, tuple(int(pid) for pid in children))


@contextmanager
def _process(command: list[str], environment: dict[str, str], out: Path) -> Iterator[subprocess.Popen[bytes]]:
    with out.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    os.sched_setaffinity(process.pid, {SERVER_CORE})
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()
        process.wait()


def _until_up(port: int, path: str, began: float) -> float:
    while time.perf_counter() - began < START_S:
        with suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}").read()
            return time.perf_counter() - began
        time.sleep(0.005)
    raise RuntimeError(f"nothing answers on port {port}")


def _said(out: Path) -> str:
    for _ in range(200):
        text = out.read_text()
        if "CHATKEEP_KEY=" in text:
            return text
        time.sleep(0.01)
    return ""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
