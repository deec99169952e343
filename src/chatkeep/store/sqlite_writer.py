"""The one writer of a SQLite file: a thread that commits many bodies at once, and the checkpoints behind it.

Group commit: what comes in one turn of the event loop shares a commit, and so does what queues up while another one is
being synced. Each body has a savepoint, so that one that fails undoes nothing but itself. Where the disk has no room
for all, each is tried alone.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from chatkeep.domain.errors import ChatkeepError, ShuttingDown, StoreBusy, StoreFull, StoreLost
from chatkeep.domain.event import Event
from chatkeep.store.driver import Listener
from chatkeep.store.settling import settle
from chatkeep.store.sqlite_errors import translate

BATCH_MAX = 256
QUEUE_MAX = 10_000
CHECKPOINT_INTERVAL_S = 1.0
CHECKPOINT_WAL_BYTES = 8 * 1024 * 1024
CHECKPOINT_PATIENCE_MS = 100
"""How long a checkpoint may make the writer wait, for readers that are still in the log."""
EMPTYING_ROUNDS = 30
"""After how many intervals a log that was written to is emptied: it still holds what was deleted since."""


@dataclass(slots=True)
class _Job:
    step: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    events: Sequence[Event]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs steps in order on its own thread; `submit` returns once the commit that holds the step is on disk."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.listeners: list[Listener] = []
        self._gathered: list[_Job] = []
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lost: ChatkeepError | None = None
        self._is_closing = False
        self._gate = threading.Lock()  # nothing may be put behind the last job
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    async def submit(self, step: Callable[[], Any], events: Sequence[Event] = ()) -> Any:
        """Run `step` inside the next group commit and return what it returned, or raise what it raised.

        What it has put into `events` is told to the listeners, before anybody else hears of the commit.
        """
        if self._lost is not None:
            raise self._lost
        if self._jobs.qsize() + len(self._gathered) >= QUEUE_MAX:
            raise StoreBusy("Too many writes are waiting; nothing was written.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._gate:
            if self._is_closing:
                raise ShuttingDown()
            if not self._gathered or self._gathered[-1].loop is not loop:
                loop.call_soon(self._hand_over)
            self._gathered.append(_Job(step, loop, future, events))
        return await future

    def is_healthy(self) -> bool:
        """Whether writes are taken."""
        return self._lost is None and not self._is_closing and self._thread.is_alive()

    def close(self) -> None:
        """Commit what was accepted, then stop the thread and close the connection. May block."""
        with self._gate:
            self._is_closing = True
            self._hand_over_gathered()
            self._jobs.put(None)
        self._thread.join()
        self.connection.close()

    def _hand_over(self) -> None:
        with self._gate:
            self._hand_over_gathered()

    def _hand_over_gathered(self) -> None:
        # What was submitted in one turn of the loop, at once: the thread would wake for the first and commit it alone.
        for job in self._gathered:
            self._jobs.put(job)
        self._gathered.clear()

    def _work(self) -> None:
        is_open = True
        while is_open:
            job = self._jobs.get()
            if job is None:
                return
            batch = [job]
            while len(batch) < BATCH_MAX:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    is_open = False
                    break
                batch.append(more)
            self._commit(batch)
            self._settle(batch)

    def _commit(self, batch: list[_Job]) -> None:
        if self._lost is not None:
            return _fail(batch, self._lost)
        execute = self.connection.execute
        # A savepoint copies every page that is touched; a body that is alone has the transaction for it.
        is_alone = len(batch) == 1
        try:
            execute("BEGIN IMMEDIATE")
            for job in batch:
                if not is_alone:
                    execute("SAVEPOINT body")
                try:
                    job.result = job.step()
                except Exception as error:  # the error belongs to the body's caller, whatever it is
                    if not self.connection.in_transaction:
                        raise
                    job.error = translate(error) if isinstance(error, apsw.Error) else error
                    execute("ROLLBACK" if is_alone else "ROLLBACK TO body")
                if not is_alone:
                    execute("RELEASE body")
            if self.connection.in_transaction:
                execute("COMMIT")
        except apsw.Error as error:
            self._undo(batch, translate(error))

    def _undo(self, batch: list[_Job], error: ChatkeepError) -> None:
        # A full disk undoes the batch and leaves the file whole; after any other failure what is on disk is unknown, so
        # nothing more is acknowledged until a restart has replayed the log.
        if not isinstance(error, StoreFull | StoreBusy):
            self._lost = StoreLost(str(error))
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except apsw.Error as again:
                self._lost = StoreLost(str(again))
        if isinstance(error, StoreFull) and len(batch) > 1 and self._lost is None:
            for job in batch:  # most ask for less room than the one that was refused
                job.result = job.error = None
                self._commit([job])
        else:
            _fail(batch, error)

    def _settle(self, batch: list[_Job]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        for job in batch:
            by_loop.setdefault(job.loop, []).append(job)
        for loop, jobs in by_loop.items():
            try:
                loop.call_soon_threadsafe(settle, jobs, self.listeners)
            except RuntimeError:
                pass  # The loop is closed, so nobody waits any more.


def _fail(batch: list[_Job], error: ChatkeepError) -> None:
    for job in batch:
        job.error = error


class Checkpointer:
    """Folds the write-ahead log into the file in the background, so that no writer waits for it.

    A log that grew large begins anew. Every few rounds it is cut to nothing: no text shall outlive its deletion there.
    """

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._connection.set_busy_timeout(CHECKPOINT_PATIENCE_MS)
        self._wal = path.with_name(path.name + "-wal")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="store-checkpointer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Fold everything, empty the log, close the connection. May block."""
        self._stop.set()
        self._thread.join()
        self._connection.set_busy_timeout(
            0
        )  # Another process may be reading or writing: it shall not wait for us.
        self._checkpoint("TRUNCATE")
        self._connection.close()

    def _work(self) -> None:
        rounds = 0
        while not self._stop.wait(CHECKPOINT_INTERVAL_S):
            rounds += 1
            size = self._wal.stat().st_size if self._wal.exists() else 0
            if rounds >= EMPTYING_ROUNDS and (not size or self._fold("TRUNCATE")):
                rounds = 0
            elif size >= CHECKPOINT_WAL_BYTES:
                self._fold("RESTART")  # else the log of a writer that never rests would grow for ever

    def _fold(self, mode: str) -> bool:
        self._checkpoint("PASSIVE")  # nearly all of it, while writing goes on
        return self._checkpoint(mode)

    def _checkpoint(self, mode: str) -> bool:
        """Whether it went to its end. Nothing is lost when it did not: the next round tries again."""
        try:
            is_busy, _, _ = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()[0]
        except (apsw.BusyError, apsw.FullError, apsw.IOError):
            return False
        return not is_busy
