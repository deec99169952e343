"""`chatkeep serve` as a user starts it: the installed program in a process of its own, and what its first words tell.

For tests that run other people's programs and wait for them; stories inside the loop have `tests.flows.command_line`.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx

from chatkeep.edge.launcher import ALLOCATOR_SETTINGS
from tests.upstream import ScriptedUpstream

NATIVE = "/chatkeep/v1"
PROGRAMS = Path(sys.executable).parent
PATIENCE_S = 60.0
_NOT_OURS = re.compile(r"CHATKEEP_|(?:https?|all|no)_proxy$", re.IGNORECASE)


@dataclass(frozen=True)
class Served:
    """A running server: its address, its owner's key, its data folder, and all it said at its start."""

    url: str
    key: str
    data: Path
    welcome: str
    client: httpx.Client

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def ask(self, method: str, path: str, **json: Any) -> Any:
        """One request as the owner that must succeed; its JSON."""
        return self.ask_as(self.bearer, method, path, **json)

    def ask_as(self, headers: dict[str, str], method: str, path: str, **json: Any) -> Any:
        """`ask` with other headers."""
        response = self.client.request(method, path, headers=headers, json=json or None)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def native(self, method: str, path: str, **json: Any) -> Any:
        """`ask` at the native API."""
        return self.ask(method, NATIVE + path, **json)


def environment(**settings: str) -> dict[str, str]:
    """This process's environment without the developer's settings and proxies, our programs first in its PATH."""
    others = {name: value for name, value in os.environ.items() if not _NOT_OURS.match(name)}
    path = os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", "")])
    ours = {f"CHATKEEP_{name.upper()}": value for name, value in settings.items()}
    # With the allocator's settings there already, a server spares itself the start of another process.
    return {**ALLOCATOR_SETTINGS, **others, "PATH": path, **ours}


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Served]:
    """A server on a free port with fresh data in `folder`, the folder it runs in; stopped in order at the end."""
    data, log = folder / "data", folder / "server.log"
    arguments = (str(PROGRAMS / "chatkeep"), "serve", "--port", "0", "--data", "data")
    with log.open("wb") as errors, _running(arguments, folder, errors, **settings) as process:
        welcome = _welcome(process)
        url, key = re.search(r"http://\S+", welcome), re.search(r"CHATKEEP_KEY=(\S+)", welcome)
        assert url is not None, log.read_text()
        assert key is not None, welcome
        with httpx.Client(base_url=url[0], trust_env=False, timeout=PATIENCE_S) as client:
            served = Served(url[0], key[1], data, welcome, client)
            _await_models(served)
            yield served
        process.terminate()
        assert process.wait(PATIENCE_S) == 0, log.read_text()


@contextmanager
def upstream() -> Iterator[str]:
    """The base URL of a scripted model provider that echoes, in a thread of this process."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="upstream")
    thread.start()
    try:
        running = ScriptedUpstream()
        asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result(PATIENCE_S)
        yield running.base_url
        asyncio.run_coroutine_threadsafe(running.__aexit__(None), loop).result(PATIENCE_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()


@contextmanager
def _running(
    arguments: tuple[str, ...], folder: Path, errors: IO[bytes], **settings: str
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        arguments,
        cwd=folder,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()  # nothing happens to a process that has ended


def _welcome(process: subprocess.Popen[str]) -> str:
    """All lines up to the last one of a first start, or up to the end of a server that does not start."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.endswith(f"{NATIVE}/chats\n"):
            break
    return said


def _await_models(served: Served) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not served.native("GET", "/models")["items"]:  # they are found in the background
        assert time.monotonic() < deadline, "the server found no model"
        time.sleep(0.05)
