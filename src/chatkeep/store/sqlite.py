"""The SQLite plug of the store: WAL, `synchronous=FULL`, one writer thread with group commit, reader threads.

Only wiring and the command line name this module. The event loop has a reader of its own for point reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from time import monotonic, sleep
from typing import Any, TypeVar

import apsw

from chatkeep.domain.errors import ShuttingDown
from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId, OrganisationId
from chatkeep.store import statements
from chatkeep.store.agreements import check_whole
from chatkeep.store.driver import Body, Elsewhere, Listener, Row, Summoned, Value
from chatkeep.store.sqlite_errors import translate, translated
from chatkeep.store.sqlite_migrate import (
    migrate,
    refuse_foreign,
    refuse_network_file_system,
    refuse_old_library,
)
from chatkeep.store.sqlite_moment import Moment
from chatkeep.store.sqlite_writer import Checkpointer, Writer

T = TypeVar("T")
PAGE_BYTES = 8192
BUSY_TIMEOUT_MS = 10_000
CACHE_KIB = 16_384
READER_THREADS = 2
RECALLED_MAX = 20_000


class SqliteTransaction:
    """Runs statements on one connection without ever suspending; see `driver.Transaction`."""

    __slots__ = ("_connection", "_sql", "announced", "organisation_id")

    def __init__(
        self, connection: apsw.Connection, sql: dict[str, str], organisation_id: OrganisationId | None
    ) -> None:
        self._connection = connection
        self._sql = sql
        self.organisation_id = organisation_id
        self.announced: list[Event] = []

    async def one(self, name: str, /, **values: Value) -> Row | None:
        """The first row, or None."""
        cursor = self._execute(name, values)
        row = cursor.fetchone()
        cursor.close(True)
        return row

    async def all(self, name: str, /, **values: Value) -> list[Row]:
        """All rows."""
        return self._execute(name, values).fetchall()

    async def run(self, name: str, /, **values: Value) -> int:
        """Write; the number of rows touched."""
        try:
            self._execute(name, values)
        except apsw.ConstraintError as error:
            raise translate(error) from error  # not in the writer: a body may say what the conflict is about
        return self._connection.changes()

    async def put(self, name: str, /, rows: Sequence[Mapping[str, Value]]) -> None:
        """Insert rows whose keys are sure to be new."""
        bound = [self._bound(name, dict(row)) for row in rows]
        try:
            self._connection.executemany(self._sql[name], bound)
        except apsw.ConstraintError as error:
            raise translate(error) from error

    def announce(self, event: Event) -> None:
        """Have an event told once it is durable."""
        self.announced.append(event)

    def _execute(self, name: str, values: dict[str, Any]) -> apsw.Cursor:
        return self._connection.execute(self._sql[name], self._bound(name, values))

    def _bound(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        if self.organisation_id is not None:
            assert not name.startswith(statements.SYSTEM), f"{name} needs a system transaction"
            values["organisation_id"] = self.organisation_id
        else:
            assert name.startswith(statements.SYSTEM), f"{name} needs an organisation"
        return values


def drive(coroutine: Any) -> Any:
    """Run a transaction body to its end in one step; a body that awaits anything but `tx` is a bug."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise AssertionError("a transaction body may await nothing but its transaction")


class SqliteStore:
    """The store on one SQLite file; see `driver.Store`. Make it with `open_sqlite`."""

    is_shared = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sql = statements.load("sqlite")
        self._peeker = connect(path, read_only=True)
        self._readers = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="store-reader")
        self._reader_connections = local()
        self._opened: list[apsw.Connection] = [self._peeker]
        self._moment = Moment(path)
        self._recalled_at = b""
        self._recalled: dict[Hashable, Any] = {}
        self._is_closed = False
        self._writer = Writer(connect(path))
        self._checkpointer = Checkpointer(connect(path), path)

    async def write(
        self, organisation_id: OrganisationId | None, body: Body[T], *, about: ChatId | None = None
    ) -> T:
        """Run `body` in the writer thread; returns after the commit that holds it. One thread needs no `about`."""
        transaction = SqliteTransaction(self._writer.connection, self._sql, organisation_id)

        def step() -> T:
            transaction.announced.clear()  # it may be run again
            result: T = drive(body(transaction))
            return result

        written: T = await self._writer.submit(step, transaction.announced)
        return written

    async def read(self, organisation_id: OrganisationId | None, body: Body[T]) -> T:
        """Run `body` on a reader thread in one snapshot."""
        self._check_open()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, organisation_id, body)

    async def peek(self, organisation_id: OrganisationId | None, body: Body[T]) -> T:
        """Run `body` at once on the event loop's own connection, in one snapshot."""
        self._check_open()
        return self._snapshot(self._peeker, organisation_id, body)

    async def recall(self, organisation_id: OrganisationId | None, key: Hashable, body: Body[T]) -> T:
        """`peek`, unless this key was peeked before and no process has committed since."""
        self._check_open()
        now = self._moment.now()
        if now != self._recalled_at or len(self._recalled) >= RECALLED_MAX:
            self._recalled.clear()
            self._recalled_at = now
        elif key in self._recalled:
            known: T = self._recalled[key]
            return known
        value = await self.peek(organisation_id, body)
        self._recalled[key] = value
        return value

    def listen(self, listener: Listener) -> None:
        """Have `listener` called with the events of each commit."""
        self._writer.listeners.append(listener)

    def hear(self, listener: Elsewhere) -> None:
        """Nobody tells: there is one server of a file; what commands write is found by looking."""

    def summon(self) -> None:
        """There is nobody else."""

    def heed(self, listener: Summoned) -> None:
        """As `hear`."""

    def tell_moment(self, listener: Callable[[bytes | None], object]) -> None:
        """Tell the header of the write-ahead log's index at once; None once closed."""
        listener(None if self._is_closed else self._moment.now())

    def is_healthy(self) -> bool:
        """Whether the writer takes work."""
        return self._writer.is_healthy()

    async def close(self) -> None:
        """Finish accepted writes, fold the write-ahead log into the file, close all connections."""
        self._is_closed = True
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._writer.close)
        self._readers.shutdown(wait=True)
        self._checkpointer.close()
        for connection in self._opened:
            connection.close()
        self._moment.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ShuttingDown()

    def _read(self, organisation_id: OrganisationId | None, body: Body[T]) -> T:
        connection: apsw.Connection | None = getattr(self._reader_connections, "connection", None)
        if connection is None:
            connection = self._reader_connections.connection = connect(self._path, read_only=True)
            self._opened.append(connection)
        return self._snapshot(connection, organisation_id, body)

    def _snapshot(
        self, connection: apsw.Connection, organisation_id: OrganisationId | None, body: Body[T]
    ) -> T:
        with translated():
            connection.execute("BEGIN")
            try:
                result: T = drive(body(SqliteTransaction(connection, self._sql, organisation_id)))
                return result
            finally:
                connection.execute("ROLLBACK")


def connect(path: Path, *, read_only: bool = False) -> apsw.Connection:
    """A connection with chatkeep's settings on a file that is migrated already."""
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    with translated():
        connection = apsw.Connection(str(path), flags=flags, statementcachesize=256)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}").fetchall()
        use_wal(connection)
        for pragma in (
            "synchronous=FULL",
            "secure_delete=ON",  # FAST would leave texts in freed pages
            "foreign_keys=ON",
            f"cache_size=-{CACHE_KIB}",
            "temp_store=MEMORY",
            "wal_autocheckpoint=0",
            f"query_only={'ON' if read_only else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def use_wal(connection: apsw.Connection) -> None:
    """Have the file keep a write-ahead log. Where others make the same new file, SQLite does not wait for them here:
    all may hold what each waits for. So ask again, as long as a writer would have waited.
    """
    give_up_s = monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            return
        except apsw.BusyError:
            if monotonic() > give_up_s:
                raise
            sleep(0.01)


def open_sqlite(path: Path) -> SqliteStore:
    """Open or create the database file, bring its schema up to date, and return the store.

    Raises `StoreRefused` on a network file system, on a schema newer than this chatkeep, while a copy into the file has
    not ended, and on a file that is no database or another program's, which stays as it is.
    """
    connection = open_up_to_date(path)
    try:
        drive(check_whole(SqliteTransaction(connection, statements.load("sqlite"), None)))
    finally:
        connection.close()
    return SqliteStore(path)


def open_up_to_date(path: Path) -> apsw.Connection:
    """A connection to the file, which is made if there is none, with its schema up to date. Raises `StoreRefused`."""
    refuse_old_library(apsw.sqlite_lib_version())
    refuse_network_file_system(path.parent)
    with translated():
        bare = apsw.Connection(str(path))
        bare.set_busy_timeout(BUSY_TIMEOUT_MS)
        try:
            refuse_foreign(bare)
        finally:
            bare.close()
    connection = connect(path)
    try:
        with translated():
            migrate(connection)
        path.chmod(0o600)
    except BaseException:
        connection.close()
        raise
    return connection
