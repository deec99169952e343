"""The two sides of a copy where they are a SQLite file; see `copying`. For the command line alone.

The source is opened read only and read in one snapshot. Nobody serves it meanwhile: whoever opens it holds the data
folder's lock. Everything here is done at once, without giving way to the event loop: there is nothing else on it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import apsw

from chatkeep.domain.errors import StoreRefused
from chatkeep.store import migrations, statements
from chatkeep.store.agreements import COPY
from chatkeep.store.copying import PAGE_BYTES, PAGE_ROWS, Statements, Table, quoted
from chatkeep.store.driver import Row
from chatkeep.store.sqlite import BUSY_TIMEOUT_MS, open_up_to_date
from chatkeep.store.sqlite_errors import translated
from chatkeep.store.sqlite_migrate import refuse_foreign, refuse_old_library

KINDS = {"INTEGER": "integer", "TEXT": "text", "BLOB": "bytes", "REAL": "float"}


class _SqliteSide:
    """What both sides do."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self.name = f"sqlite:{path}"
        self._connection = connection
        self._sql = statements.load("sqlite")

    async def tables(self) -> dict[str, Table]:
        """All but SQLite's own."""
        with translated():
            rows = self._connection.execute("PRAGMA main.table_list").fetchall()
            names = sorted(str(name) for _, name, kind, *_ in rows if kind == "table")
            return {name: self._table(name) for name in names if not name.startswith("sqlite_")}

    async def count(self, table: Table) -> int:
        """How many rows it has."""
        return int(self._first(*_of(table).count())[0])

    async def pages(self, table: Table, after: Row | None) -> AsyncIterator[list[Row]]:
        """As `copying.Side`."""
        page: list[Row] = []
        size_bytes = 0
        with translated():
            for row in self._connection.execute(*_of(table).in_order(after)):
                page.append(row)
                size_bytes += sum(len(value) for value in row if isinstance(value, str | bytes))
                if len(page) >= PAGE_ROWS or size_bytes >= PAGE_BYTES:
                    yield page
                    page, size_bytes = [], 0
        if page:
            yield page

    async def copied_from(self) -> str | None:
        """The source of a copy that is under way into it."""
        with translated():
            found = self._connection.execute(self._sql["system_agreement_get"], {"name": COPY}).fetchone()
        return None if found is None else str(found[0])

    async def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _table(self, name: str) -> Table:
        columns: list[Row] = self._connection.execute(f"PRAGMA table_info({quoted(name)})").fetchall()
        references: list[Row] = self._connection.execute(
            f"PRAGMA foreign_key_list({quoted(name)})"
        ).fetchall()
        key = sorted((place, column) for _, column, *_, place in columns if place)
        return Table(
            name=name,
            columns={column: KINDS.get(str(kind), str(kind)) for _, column, kind, *_ in columns},
            key=tuple(column for _, column in key),
            references=frozenset(row[2] for row in references),
        )

    def _first(self, statement: str, values: Sequence[Any]) -> Row:
        with translated():
            row: Row | None = self._connection.execute(statement, values).fetchone()
        assert row is not None
        return row


class SqliteSource(_SqliteSide):
    """A file that is read. Make it with `open_sqlite_source`."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        super().__init__(path, connection)
        self._version = self._data_version()
        connection.execute("BEGIN")
        self._data_version()  # the snapshot begins with the first read

    async def check_untouched(self) -> None:
        """Ends the snapshot. Raises `StoreRefused` when another process has written since it began."""
        with translated():
            self._connection.execute("ROLLBACK")
            if self._data_version() != self._version:
                raise StoreRefused(
                    f"{self.name} was written to while it was copied. Run the same command again; if it finds that "
                    "the two differ, begin anew with an empty target."
                )

    def _data_version(self) -> int:
        return int(self._first("PRAGMA data_version", ())[0])


class SqliteTarget(_SqliteSide):
    """A file that is written to. Make it with `open_sqlite_target`."""

    async def begin(self, source_name: str, tables: Sequence[Table]) -> list[str]:
        """As `copying.Target`."""
        with self._transaction():
            occupied = [table.name for table in tables if await self.last_key(table) is not None]
            if not occupied:
                values = {"name": COPY, "value": source_name}
                self._connection.execute(self._sql["system_agreement_propose"], values)
            return occupied

    async def end(self) -> None:
        """Take the mark away."""
        with self._transaction():
            self._connection.execute(self._sql["system_agreement_end"], {"name": COPY})

    async def last_key(self, table: Table) -> Row | None:
        """The greatest key."""
        with translated():
            return self._connection.execute(*_of(table).last_key()).fetchone()

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Write the rows, all or none."""
        places = ", ".join("?" for _ in table.columns)
        into = f"INSERT INTO {quoted(table.name)} ({quoted(*table.columns)}) VALUES ({places})"  # noqa: S608 - names are quoted
        with self._transaction():
            self._connection.executemany(into, rows)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """What is read inside is of one moment."""
        with self._transaction("BEGIN"):
            yield

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        with translated():
            self._connection.execute(begin)
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")


def open_sqlite_source(path: Path) -> SqliteSource:
    """Raises `StoreRefused` for what is no database of chatkeep, or not of this version's schema."""
    refuse_old_library(apsw.sqlite_lib_version())
    with translated():
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            refuse_foreign(connection)
            _refuse_other_schema(path, connection)
            return SqliteSource(path, connection)
        except BaseException:
            connection.close()
            raise


def open_sqlite_target(path: Path) -> SqliteTarget:
    """The file is made if there is none; its schema is up to date then. Raises `StoreRefused`."""
    return SqliteTarget(path, open_up_to_date(path))


def _refuse_other_schema(path: Path, connection: apsw.Connection) -> None:
    version: Any = connection.execute("PRAGMA user_version").get
    wanted = len(migrations.load("sqlite"))
    if version > wanted:
        raise StoreRefused(f"{path} has schema {version}, newer than this chatkeep's {wanted}.")
    if version < wanted:
        raise StoreRefused(
            f"{path} has schema {version}, and this chatkeep needs {wanted}: run `chatkeep migrate` on it first."
        )


def _of(table: Table) -> Statements:
    return Statements(table, lambda _: "?")
