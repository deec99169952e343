"""The real command line for tests: as a process, in this process, and a server started with it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import structlog
from typer.testing import CliRunner

from chatkeep.cli.app import app

PROGRAM = (sys.executable, "-c", "from chatkeep.cli import main; main()")
PATIENCE_S = 60.0
NATIVE = "/chatkeep/v1"
DATABASE = "CHATKEEP_DATABASE_URL"
"""Where the test has a database of its own; see the fixture `database`."""


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def environment(**settings: str) -> dict[str, str]:
    """This process's environment without the developer's own settings, and with these."""
    others = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CHATKEEP_") or name == DATABASE
    }
    return {**others, **{f"CHATKEEP_{name.upper()}": value for name, value in settings.items()}}


async def start(*arguments: str, **settings: str) -> Process:
    """The command as a process, with pipes."""
    env = environment(**settings)
    return await asyncio.create_subprocess_exec(
        *PROGRAM, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=env
    )


def invoke(*arguments: str, stdin: bytes = b"", **settings: str) -> Done:
    """The command in this process, which spares it a second of imports."""
    cleared: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith("CHATKEEP_") and name != DATABASE
    }
    env = {**cleared, **{f"CHATKEEP_{name.upper()}": value for name, value in settings.items()}}
    with _own_logs():
        result = CliRunner().invoke(app, arguments, input=stdin, env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


@contextmanager
def _own_logs() -> Iterator[None]:
    """What a command sets up for its logs is undone after it: they go to a stream that is closed with it."""
    before, configure = structlog.get_config(), structlog.configure
    structlog.configure = lambda **wanted: configure(**{**wanted, "cache_logger_on_first_use": False})
    try:
        yield
    finally:
        structlog.configure = configure
        structlog.configure(**before)


async def run(*arguments: str, stdin: bytes = b"", **settings: str) -> Done:
    """`invoke` beside the loop, for tests whose loop has work to do meanwhile."""
    return await asyncio.to_thread(partial(invoke, *arguments, stdin=stdin, **settings))


@dataclass(frozen=True)
class Serving:
    """A running `chatkeep serve`; `key` is its owner's."""

    url: str
    key: str
    data: Path

    async def native(
        self, method: str, path: str, key: str | None = None, *, body: object = None
    ) -> httpx.Response:
        """One request to its native API."""
        headers = {"authorization": f"Bearer {key or self.key}"}
        async with httpx.AsyncClient(base_url=self.url + NATIVE, timeout=PATIENCE_S) as client:
            return await client.request(method, path, headers=headers, json=body)

    async def chat(self, *arguments: str, stdin: bytes = b"", key: str | None = None) -> Done:
        """`chatkeep chat` with the owner's key."""
        return await run("chat", "--url", self.url, *arguments, stdin=stdin, key=key or self.key)


@asynccontextmanager
async def serving(data: Path, **settings: str) -> AsyncIterator[Serving]:
    """`chatkeep serve` on a fresh data folder and a free port, stopped in order at the end."""
    process = await start("serve", "--port", "0", "--data", str(data), **settings)
    assert process.stdout is not None
    log = asyncio.ensure_future(_drained(process))
    try:
        said = (await asyncio.wait_for(process.stdout.readuntil(b"/chats\n"), PATIENCE_S)).decode()
        url, key = re.search(r"http://\S+", said), re.search(r"CHATKEEP_KEY=(\S+)", said)
        assert url is not None
        assert key is not None
        yield Serving(url[0], key[1], data)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await log


async def _drained(process: Process) -> bytes:
    # A pipe that nobody reads would stop the server once it is full.
    assert process.stderr is not None
    return await process.stderr.read()
