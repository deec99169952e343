"""Servers forked from one process that has imported everything: `python -m tests.crash.nursery`.

Each line on its standard input is a JSON object (see `Wanted`); it answers with the pid of a server that runs `chatkeep
serve`'s own code. It ends with its input, and its servers with it. Nothing of a server is shared but imported modules.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chatkeep import wiring
from chatkeep.cli import logs
from chatkeep.cli.serve import _serve
from chatkeep.config import ProviderSettings, Settings
from chatkeep.edge import server
from chatkeep.store import postgres, sqlite_writer
from tests.crash import faults, skewed
from tests.crash.place import Engine

PRELOADED = (logs, postgres, server, wiring)
OFTEN_S, OFTEN_BYTES = 0.02, 64 * 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where the server keeps its data and writes what it says; `folds_often` lets it die in checkpoints too.

    `settings` go before those that all have; `fault` is where it ends itself (`tests.crash.faults`), at which pass.
    `clock_off_s`: its machine's clock is so far off.
    """

    data: str
    log: str
    upstream_url: str
    folds_often: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None
    at_pass: int = 1
    clock_off_s: float = 0.0

    def line(self) -> str:
        """As the nursery reads it."""
        return json.dumps(asdict(self)) + "\n"


def serve(wanted: Wanted) -> int:
    """Be the server, to its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    into = os.open(wanted.log, os.O_WRONLY | os.O_APPEND)
    os.dup2(into, 1)
    os.dup2(into, 2)
    if wanted.folds_often:
        sqlite_writer.CHECKPOINT_INTERVAL_S = OFTEN_S
        sqlite_writer.CHECKPOINT_WAL_BYTES = OFTEN_BYTES
    settings = Settings(
        data=Path(wanted.data),
        port=0,
        local_model=False,
        log_requests=False,
        providers={"scripted": ProviderSettings(base_url=wanted.upstream_url)},
        **wanted.settings,
    )
    if wanted.fault is not None:
        engine: Engine = "sqlite" if settings.database_url is None else "postgres"
        faults.set_trap(engine, wanted.fault, wanted.at_pass)
    if wanted.clock_off_s:
        skewed.set_off(wanted.clock_off_s)
    return _serve(settings)


def main() -> int:
    """Fork until the input ends; then end what is left of the servers, and this process, which leads their group."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: the system forgets them by itself
    gc.freeze()
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            os._exit(serve(Wanted(**json.loads(line))))
        print(pid, flush=True)  # noqa: T201 - the answer
    os.killpg(os.getpid(), signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
