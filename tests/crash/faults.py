"""Named points in a server's life at which it kills itself. Only the nursery's servers can, and only when asked to.

The product knows nothing of this: a point is put around its own functions, in the child process, before it serves. The
passes through a point are counted from the start, or for points of a server at work from the supervisor's SIGUSR1 on.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import apsw
import asyncpg

from chatkeep.runtime import runner
from chatkeep.runtime.deltas import DeltaWriter
from chatkeep.services import generating, leases
from chatkeep.services import runs as run_verbs
from chatkeep.store import events, postgres_writer, sqlite, sqlite_migrate
from chatkeep.store.sqlite_writer import Checkpointer, Writer
from tests.crash.place import Engine


class Trap:
    """Counts passes, and ends the process at the one it is set to."""

    def __init__(self, at_pass: int, *, is_armed: bool) -> None:
        self._left = at_pass
        self._is_armed = is_armed
        self._lock = threading.Lock()

    def arm(self, *_: object) -> None:
        """Count from now on."""
        self._is_armed = True

    def passed(self) -> None:
        """One more pass."""
        with self._lock:
            self._left -= self._is_armed
            if self._left <= 0:
                die()


def die() -> None:
    """As kill -9 does it: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def around(
    trap: Trap,
    home: type | ModuleType,
    name: str,
    *,
    before: bool = False,
    when: Callable[..., bool] | None = None,
) -> None:
    """Pass the trap before or after each call of a function, where `when` holds for its arguments."""
    function = getattr(home, name)

    def matters(*args: Any, **kwargs: Any) -> bool:
        return when is None or when(*args, **kwargs)

    @functools.wraps(function)
    async def later(*args: Any, **kwargs: Any) -> Any:
        if before and matters(*args, **kwargs):
            trap.passed()
        result = await function(*args, **kwargs)
        if not before and matters(*args, **kwargs):
            trap.passed()
        return result

    @functools.wraps(function)
    def at_once(*args: Any, **kwargs: Any) -> Any:
        if before and matters(*args, **kwargs):
            trap.passed()
        result = function(*args, **kwargs)
        if not before and matters(*args, **kwargs):
            trap.passed()
        return result

    is_async = function.__code__.co_flags & 0x80
    setattr(home, name, later if is_async else at_once)


def _before_commits(trap: Trap) -> None:
    def allow() -> bool:
        trap.passed()
        return False  # anything else would undo it

    apsw.connection_hooks.append(lambda connection: connection.set_commit_hook(allow))


def _in_migrations(trap: Trap) -> None:
    def statement(*_: object) -> bool:
        trap.passed()
        return True

    @functools.wraps(sqlite_migrate.migrate)
    def traced(connection: apsw.Connection) -> None:
        connection.exec_trace = statement
        sqlite_migrate.migrate(connection)

    sqlite.migrate = traced  # type: ignore[attr-defined]  # where the driver has it from


def _in_checkpoints(trap: Trap) -> None:
    """As soon as a checkpoint has changed the file: it writes many pages, and what it will sync comes after them."""
    checkpoint = Checkpointer._checkpoint

    def watched(self: Checkpointer, mode: str) -> bool:
        database = Path(str(self._wal).removesuffix("-wal"))
        before, is_over = database.stat().st_mtime_ns, threading.Event()

        def watch() -> None:
            while not is_over.is_set():
                if database.stat().st_mtime_ns != before:
                    trap.passed()
                    break

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        is_done = checkpoint(self, mode)
        is_over.set()
        watcher.join()
        return is_done

    Checkpointer._checkpoint = watched  # type: ignore[method-assign]


def _is_stop(_tx: object, _started: object, generated: generating.Generated) -> bool:
    return generated.state == "stopped"


def _is_commit(_connection: object, query: str, *_: object) -> bool:
    return query.rstrip("; ").endswith("COMMIT")


Point = Callable[[Trap], None]
OF_ENGINE: dict[Engine, dict[str, Point]] = {
    "sqlite": {
        "before a commit": _before_commits,
        "after a commit, before anybody is told": lambda trap: around(trap, Writer, "_commit"),
        "after a commit, before its clients are told": lambda trap: around(trap, Writer, "_settle"),
        "in a checkpoint": _in_checkpoints,
    },
    "postgres": {
        "before a commit": lambda trap: around(
            trap, asyncpg.Connection, "execute", before=True, when=_is_commit
        ),
        "after a commit, before anybody is told": lambda trap: around(
            trap, asyncpg.Connection, "execute", when=_is_commit
        ),
        "after a commit, before its clients are told": lambda trap: around(trap, postgres_writer, "settle"),
    },
}
OF_ANY: dict[str, Point] = {
    "after a model's word, before it is written": lambda trap: around(trap, DeltaWriter, "add"),
    "in the transaction of a tick": lambda trap: around(trap, events, "append_deltas"),
    "before an answer's first word is written": lambda trap: around(
        trap, generating, "begin_answer", before=True
    ),
    "after an answer's first word is written": lambda trap: around(trap, generating, "begin_answer"),
    "before an answer's end": lambda trap: around(trap, generating, "finish", before=True),
    "in the transaction of an answer's end": lambda trap: around(trap, generating, "finish_in"),
    "after an answer's end, before anybody is told": lambda trap: around(
        trap, runner.LiveRun, "end", before=True
    ),
    "between a stop and its end": lambda trap: around(
        trap, generating, "finish_in", before=True, when=_is_stop
    ),
    "in the transaction of a fold": lambda trap: around(trap, events, "fold"),
    "before a run is handed over": lambda trap: around(trap, leases, "release", before=True),
    "after a run was handed over": lambda trap: around(trap, leases, "release"),
    "in the transaction of a run's start": lambda trap: around(trap, run_verbs, "_start"),
}
AT_START: dict[str, Point] = {
    "in a migration": _in_migrations,
    "in the transaction of a dead run's end": lambda trap: around(trap, generating, "finish_in"),
    "after a dead run's end": lambda trap: around(trap, leases, "end_dead"),
    "after a run was taken over": lambda trap: around(trap, leases, "take_over"),
}


def at_work(engine: Engine) -> dict[str, Point]:
    """The points of a server at work on this engine."""
    return {**OF_ENGINE[engine], **OF_ANY}


def set_trap(engine: Engine, point: str, at_pass: int) -> None:
    """Have this process die at the `at_pass`-th pass of a point."""
    trap = Trap(at_pass, is_armed=point in AT_START)
    signal.signal(signal.SIGUSR1, trap.arm)
    {**at_work(engine), **AT_START}[point](trap)
