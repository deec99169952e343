"""Servers to be measured: chatkeep itself, a bare ASGI application, nginx. Each a process on one core, on loopback."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.postgres.databases import Databases
from tests.postgres.server import Postgres

HOST = "127.0.0.1"
ENGINES = ("sqlite", "postgres")
START_S = 60.0
STOP_S = 15.0
LOOK_S = 0.002
_TICKS = os.sysconf("SC_CLK_TCK")
_CORES = sorted(os.sched_getaffinity(0))
_NGINX = """
worker_processes 1; daemon off; master_process off; {user} pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; sendfile on; keepalive_requests 1000000000; default_type application/json;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; root {folder}/bodies; }} }}
"""


NOBODY = {
    "CHATKEEP_LOCAL_MODEL": "false",
    "CHATKEEP_LEXICON_REQUESTS_PER_MINUTE": "0",
    "CHATKEEP_PROVIDERS__NOBODY__BASE_URL": f"http://{HOST}:9/v1",
}


@dataclass(frozen=True, slots=True)
class Running:
    """A server: its port, its process, chatkeep's owner key, and the seconds from its start to its first answer."""

    port: int
    pid: int
    key: str
    start_s: float

    def cpu_s(self) -> float:
        """User and system time so far, of all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_mb(self) -> float:
        """Resident memory, in MiB."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Mapping[str, str], bytes]:
        """One request: status, headers by lower-case name, body."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def make(self, path: str, body: Any) -> Any:
        """POST what must be made; its JSON."""
        status, _, answer = self.ask(
            "POST", path, body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"POST {path}: {status} {answer.decode()}")
        return json.loads(answer)


@contextmanager
def chatkeep(
    folder: Path,
    key: str = "",
    *,
    program: Sequence[str] = (),
    settings: Mapping[str, str] = NOBODY,
    core: int = _CORES[0],
) -> Iterator[Running]:
    """`chatkeep serve` as it comes, on the data in `folder` and with all it writes in a file there.

    By default without the offline model, and with a provider nobody asks, so that chats have a model. `key` for a
    folder that was started before; `program` is what Python runs instead of chatkeep's own.
    """
    port = free_port()
    chosen = [f"{name}={value}" for name, value in settings.items()]
    started = [sys.executable, *program] if program else [str(Path(sys.executable).with_name("chatkeep"))]
    # Bytecode is there after an installation; a shell that forbids it would make every start compile anew.
    command = ["env", "-u", "PYTHONDONTWRITEBYTECODE", *chosen, *started, "serve"]
    command += ["--host", HOST, "--port", str(port), "--data", str(folder / "data")]
    with _process(command, folder / "said", core) as (pid, began):
        start_s = _until_up(port, "/health", began)
        yield Running(port, pid, key or _key(folder / "said"), start_s)


@contextmanager
def databases(engine: str, cores: Sequence[int] = _CORES[-1:]) -> Iterator[Callable[[], Mapping[str, str]]]:
    """What gives each server the settings for a place of its own: none, as its folder is one, or those of a database
    of a PostgreSQL that is as durable as it comes and runs on `cores`, by default the load's.
    """
    if engine == "sqlite":
        yield dict
        return
    os.sched_setaffinity(0, cores)
    with Postgres.temporary(is_durable=True) as postgres, Databases(postgres.superuser_url) as made:
        yield lambda: {"CHATKEEP_DATABASE_URL": made.fresh()}


@contextmanager
def bare(bodies: Path) -> Iterator[Running]:
    """uvicorn with an application that answers with files read before: what the same server costs without us."""
    port = free_port()
    command = [sys.executable, "-m", "bench.bare", str(port), str(bodies)]
    with _process(command, bodies.parent / "bare-said") as (pid, began):
        yield Running(port, pid, "", _until_up(port, "/", began))


@contextmanager
def nginx(bodies: Path) -> Iterator[Running | None]:
    """nginx, one process, serving the files from disk; None where it is not installed."""
    program = shutil.which("nginx")
    if program is None:
        yield None
        return
    port, folder = free_port(), bodies.parent
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(_NGINX.format(folder=folder, port=port, user=user))
    with _process([program, "-c", str(config), "-p", str(folder)], folder / "nginx-said") as (pid, began):
        yield Running(port, pid, "", _until_up(port, "/", began))


def keep_off() -> None:
    """Keep this process, which makes the load, off the core of the servers. Where there is but one, it stays there."""
    os.sched_setaffinity(0, {_CORES[-1]})


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _process(command: list[str], said: Path, core: int = _CORES[0]) -> Iterator[tuple[int, float]]:
    with said.open("wb") as file:
        os.sched_setaffinity(0, {core})  # for the child, whose threads all inherit it
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        keep_off()
    try:
        yield process.pid, began
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        process.kill()
        process.wait()


def _until_up(port: int, path: str, began: float) -> float:
    while time.perf_counter() - began < START_S:
        connection = http.client.HTTPConnection(HOST, port, timeout=START_S)
        try:
            connection.request("GET", path)
            connection.getresponse().read()
            return time.perf_counter() - began
        except ConnectionError:
            time.sleep(LOOK_S)
        finally:
            connection.close()
    raise RuntimeError(f"nothing answers on port {port}")


def _key(said: Path) -> str:
    until = time.perf_counter() + START_S
    while time.perf_counter() < until:
        if found := re.search(r"CHATKEEP_KEY=(\S+)", said.read_text()):
            return found[1]
        time.sleep(LOOK_S)
    raise RuntimeError("the server told no key at its first start")
