"""Copies that are there to be killed: `python -m tests.flows.copy_forks` forks one for each line of its input.

A line is the JSON list of the command's arguments; the answer is the process's id. A start from nothing takes a second,
and there are many. Pages are short, so that there is much to be killed in.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from time import monotonic, sleep

from chatkeep import wiring
from chatkeep.cli.app import app
from chatkeep.store import postgres_copying, sqlite_copying, statements
from tests.forking import Forks

PRELOADED = (wiring, postgres_copying)
LOADED = (statements.load("sqlite"), statements.load_numbered("postgres"))
PAGE_ROWS = 100
PATIENCE_S = 60


class Copies(Forks):
    """The process that copies are forked from; a context."""

    def __init__(self) -> None:
        super().__init__("tests.flows.copy_forks")

    def copy(self, *arguments: str) -> int:
        """The pid of a new copy."""
        return self.fork(json.dumps(["copy", *arguments]) + "\n")


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """End it, and wait until it is gone; False if it was gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    wait(pid)
    return True


def wait(pid: int) -> None:
    """Until it is gone."""
    until_s = monotonic() + PATIENCE_S
    with suppress(ProcessLookupError):
        while monotonic() < until_s:
            os.kill(pid, 0)
            sleep(0.002)
        raise AssertionError(f"process {pid} does not end")


def main() -> None:
    """Fork until the input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    vars(sqlite_copying)["PAGE_ROWS"] = PAGE_ROWS
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs in the background ignores it
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nowhere, descriptor)
            app(json.loads(line))
        print(pid, flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
