"""A server process that is there to be killed, on a data folder that outlives it.

Most are forked from a process that has imported chatkeep already, because a start from nothing takes a second and there
are many; `is_fresh` starts `chatkeep serve` as an operator would. Both run the same command.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic

from chatkeep.cli.serve import _serve
from chatkeep.config import ProviderSettings, Settings
from chatkeep.store import sqlite_writer

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["chatkeep.wiring", "chatkeep.cli.serve", "chatkeep.cli.logs", "chatkeep.edge.server"])
START_S = 60
OFTEN_S, OFTEN_BYTES = 0.02, 64 * 1024


class ServerProcess:
    """One life of a server. `url` and, at the first start of a folder, `key` are known once `start` returns."""

    def __init__(self, data: Path, upstream_url: str, *, is_fresh: bool = False, folds_often: bool = False) -> None:
        self.url = ""
        self.key: str | None = None
        self._data = data
        self._upstream_url = upstream_url
        self._is_fresh = is_fresh
        self._folds_often = folds_often
        self._log = data.with_name("server.log")

    async def start(self) -> None:
        """Start it and wait until it takes requests."""
        self._log.write_bytes(b"")
        self._process = self._command() if self._is_fresh else self._fork()
        pid = self._process.pid
        assert pid is not None
        self.pid = pid
        until = monotonic() + START_S
        while (found := re.search(r"ready at (\S+)", said := self._log.read_text())) is None:
            assert monotonic() < until, f"the server did not start:\n{said}"
            assert not self._has_ended(), f"the server ended at its start:\n{said}"
            await asyncio.sleep(0.005)
        self.url = found[1]
        if shown := re.search(r"CHATKEEP_KEY=(\S+)", self._log.read_text()):
            self.key = shown[1]

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        if isinstance(self._process, subprocess.Popen):
            self._process.wait(10)
        else:
            self._process.join(10)

    @property
    def said(self) -> str:
        """Everything it wrote."""
        return self._log.read_text()

    def _has_ended(self) -> bool:
        if isinstance(self._process, subprocess.Popen):
            return self._process.poll() is not None
        return not self._process.is_alive()

    def _command(self) -> subprocess.Popen[bytes]:
        wanted = {
            "CHATKEEP_LOCAL_MODEL": "false",
            "CHATKEEP_PROVIDERS__SCRIPTED__BASE_URL": self._upstream_url,
        }
        command = [sys.executable, "-m", "chatkeep", "serve", "--port", "0", "--data", str(self._data)]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, env={**os.environ, **wanted}, stdout=log, stderr=log)

    def _fork(self) -> multiprocessing.context.ForkServerProcess:
        arguments = (self._data, self._upstream_url, self._log, self._folds_often)
        process = CONTEXT.Process(target=_run, args=arguments, daemon=True)
        process.start()
        return process


def _run(data: Path, upstream_url: str, log: Path, folds_often: bool) -> None:
    into = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(into, 1)
    os.dup2(into, 2)
    if folds_often:  # so that it dies in the middle of checkpoints too
        sqlite_writer.CHECKPOINT_INTERVAL_S = OFTEN_S
        sqlite_writer.CHECKPOINT_WAL_BYTES = OFTEN_BYTES
    settings = Settings(
        data=data,
        port=0,
        local_model=False,
        log_requests=False,
        providers={"scripted": ProviderSettings(base_url=upstream_url)},
    )
    sys.exit(_serve(settings))
