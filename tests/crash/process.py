"""A server process that is there to be killed, on a data folder that outlives it.

Most come out of the nursery, because a start from nothing takes a second and there are many; `is_fresh` starts
`chatkeep serve` as an operator would. Both run the same command.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic

from tests.crash.nursery import Wanted
from tests.forking import Forks

START_S = 60
LOOK_S = 0.005


class Nursery(Forks):
    """The process that servers are forked from; a context."""

    def __init__(self) -> None:
        super().__init__("tests.crash.nursery")


class ServerProcess:
    """One life of a server. `url` and, at the first start of a folder, `key` are known once `start` returns."""

    def __init__(self, wanted: Wanted, nursery: Nursery | None) -> None:
        self.url = ""
        self.key: str | None = None
        self._wanted = wanted
        self._nursery = nursery
        self._log = Path(wanted.log)
        self._command: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and wait until it takes requests."""
        self.launch()
        until = monotonic() + START_S
        while (found := re.search(r"ready at (\S+)", said := self._log.read_text())) is None:
            assert self._is_alive(), f"the server ended at its start:\n{said}"
            assert monotonic() < until, f"the server did not start:\n{said}"
            await asyncio.sleep(LOOK_S)
        self.url = found[1]
        if shown := re.search(r"CHATKEEP_KEY=(\S+)", self._log.read_text()):
            self.key = shown[1]

    def launch(self) -> None:
        """Start it, and do not wait."""
        self._log.write_bytes(b"")
        self.pid = self._start_command() if self._nursery is None else self._nursery.fork(self._wanted.line())

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.send(signal.SIGKILL)
        await self.ended()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it is still there."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def ended(self, within_s: float = START_S) -> None:
        """Wait until it is gone."""
        async with asyncio.timeout(within_s):
            while self._is_alive():  # noqa: ASYNC110 - another process, which tells nobody
                await asyncio.sleep(LOOK_S)

    @property
    def exit_code(self) -> int | None:
        """How it ended; known of those that were started as an operator would."""
        return None if self._command is None else self._command.poll()

    @property
    def said(self) -> str:
        """Its log."""
        return self._log.read_text()

    def _is_alive(self) -> bool:
        if self._command is not None:
            return self._command.poll() is None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _start_command(self) -> int:
        wanted = {
            "CHATKEEP_LOCAL_MODEL": "false",
            "CHATKEEP_PROVIDERS__SCRIPTED__BASE_URL": self._wanted.upstream_url,
            **{f"CHATKEEP_{name.upper()}": str(value) for name, value in self._wanted.settings.items()},
        }
        command = [
            str(Path(sys.executable).with_name("chatkeep")),
            "serve",
            "--port",
            "0",
            "--data",
            self._wanted.data,
        ]
        with self._log.open("ab") as log:
            self._command = subprocess.Popen(command, env={**os.environ, **wanted}, stdout=log, stderr=log)
        return self._command.pid
