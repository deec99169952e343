"""The two sides of a copy where they are a PostgreSQL database; see `copying`. For the command line alone.

Row-level security stands in the way of `COPY … FROM`, so rows go into a temporary table first, and from there in one
statement: 40,000 to 55,000 rows a second where `executemany` makes 15,000 and arrays make 25,000.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import asyncpg

from chatkeep.domain.errors import ChatkeepError, StoreRefused
from chatkeep.store import migrations, statements
from chatkeep.store.agreements import COPY
from chatkeep.store.copying import PAGE_BYTES, PAGE_ROWS, Statements, Table, quoted
from chatkeep.store.driver import Row
from chatkeep.store.postgres_connections import binding, connect
from chatkeep.store.postgres_errors import ENGINE_ERRORS, told
from chatkeep.store.postgres_migrate import migrate
from chatkeep.store.postgres_moment import time_at

KINDS = {"int8": "integer", "text": "text", "bytea": "bytes", "float8": "float"}
LEDGER = "chatkeep_schema"
"""Of the migrations, on this engine only."""
ONE_AT_A_TIME = 0x636B7033
"""The advisory lock of whoever copies into a database."""
PATIENCE_MS = 15_000
"""How long a copy that was killed may hold it: the server notices with what it sends next."""
LIVING_US = 60_000_000
"""A node that was heard of so short ago may live."""
ALONE = "LOCK TABLE agreements IN SHARE ROW EXCLUSIVE MODE"
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

_COLUMNS = """
SELECT c.relname::text, a.attname::text, t.typname::text, array_position(k.conkey, a.attnum)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace
ORDER BY c.relname, a.attnum
"""
_REFERENCES = """
SELECT c.relname::text, f.relname::text
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid
WHERE k.contype = 'f' AND c.relnamespace = current_schema()::regnamespace
"""


class _PostgresSide:
    """What both sides do."""

    def __init__(self, url: str, connection: asyncpg.Connection) -> None:
        self.name = _name(url)
        self._connection = connection
        self._sql = statements.load_numbered("postgres")

    async def tables(self) -> dict[str, Table]:
        """All but the ledger of the migrations."""
        with _translated():
            rows = await self._connection.fetch(_COLUMNS)
            references = await self._connection.fetch(_REFERENCES)
        found = {}
        for name in sorted({row[0] for row in rows} - {LEDGER}):
            columns = [row for row in rows if row[0] == name]
            key = sorted((place, column) for _, column, _, place in columns if place is not None)
            found[name] = Table(
                name=name,
                columns={column: KINDS.get(kind, kind) for _, column, kind, _ in columns},
                key=tuple(column for _, column in key),
                references=frozenset(to for of, to in references if of == name),
            )
        return found

    async def count(self, table: Table) -> int:
        """How many rows it has."""
        statement, values = _of(table).count()
        with _translated():
            return int(await self._connection.fetchval(statement, *values))

    async def pages(self, table: Table, after: Row | None) -> AsyncIterator[list[Row]]:
        """As `copying.Side`. The server leaves out what would make a page too long, before it sends it."""
        sizes = [f"coalesce(octet_length({quoted(name)}), 0)" for name in _long(table)]
        size = " + ".join(sizes) or "0"
        order = quoted(*table.key)
        before = f'sum({size}) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) - ({size}) AS "bytes before"'
        selected = f"{quoted(*table.columns)}, {before}"
        while True:
            page, values = _of(table).rows(selected, after, f" ORDER BY {order} LIMIT {PAGE_ROWS}")
            statement = (
                f"SELECT {quoted(*table.columns)} FROM ({page}) AS page "  # noqa: S608 - names are quoted
                f'WHERE "bytes before" < {PAGE_BYTES} ORDER BY {order}'
            )
            with _translated():
                rows = [tuple(row) for row in await self._connection.fetch(statement, *values)]
            if not rows:
                return
            yield rows
            after = table.key_of(rows[-1])

    async def copied_from(self) -> str | None:
        """The source of a copy that is under way into it."""
        with _translated():
            text = self._sql["system_agreement_get"].text
            found: str | None = await self._connection.fetchval(text, COPY)
            return found

    async def close(self) -> None:
        """Let go of the connection."""
        self._connection.terminate()


class PostgresSource(_PostgresSide):
    """A database that is read. Make it with `open_postgres_source`."""

    async def check_untouched(self) -> None:
        """Ends the snapshot. Raises `StoreRefused` when a node serves the database by now."""
        with _translated():
            await self._connection.execute("ROLLBACK")
            await self.refuse_served()

    async def refuse_served(self) -> None:
        """Raise `StoreRefused` if a node was heard of lately."""
        with _translated():
            now_us = await time_at(self._connection)
            nodes = await self._connection.fetch(self._sql["system_nodes_all"].text)
        living = [node["name"] for node in nodes if node["seen_at"] > now_us - LIVING_US]
        if living:
            raise StoreRefused(f"{self.name} is served, or was a minute ago, by {', '.join(living)}.")


class PostgresTarget(_PostgresSide):
    """A database that is written to. Make it with `open_postgres_target`."""

    def __init__(self, url: str, connection: asyncpg.Connection) -> None:
        super().__init__(url, connection)
        self._hall: str | None = None

    async def begin(self, source_name: str, tables: Sequence[Table]) -> list[str]:
        """As `copying.Target`."""
        with _translated():
            async with self._connection.transaction():
                await self._connection.execute(ALONE)  # a server's first start waits, and finds the mark
                occupied = [table.name for table in tables if await self.last_key(table) is not None]
                if not occupied:
                    text = self._sql["system_agreement_propose"].text
                    await self._connection.execute(text, COPY, source_name)
                return occupied

    async def end(self) -> None:
        """Take the mark away."""
        with _translated():
            await self._connection.execute(self._sql["system_agreement_end"].text, COPY)

    async def last_key(self, table: Table) -> Row | None:
        """The greatest key."""
        statement, values = _of(table).last_key()
        with _translated():
            row = await self._connection.fetchrow(statement, *values)
        return None if row is None else tuple(row)

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Write the rows, all or none."""
        columns = quoted(*table.columns)
        with _translated():
            hall = await self._hall_for(table)
            async with self._connection.transaction():
                await self._connection.copy_records_to_table(hall, records=rows, columns=list(table.columns))
                await self._connection.execute(
                    f"INSERT INTO {quoted(table.name)} ({columns}) SELECT {columns} FROM {hall}"  # noqa: S608 - names are quoted
                )

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """What is read inside is of one moment."""
        with _translated():
            await self._connection.execute(SNAPSHOT)
        try:
            yield
        finally:
            if not self._connection.is_closed():
                with _translated():
                    await self._connection.execute("ROLLBACK")

    async def _hall_for(self, table: Table) -> str:
        """The temporary table that rows of this one go through; its transactions leave it empty."""
        hall = f"chatkeep_copy_{table.name}"
        if self._hall != hall:
            self._hall = hall
            await self._connection.execute(
                f"CREATE TEMPORARY TABLE {quoted(hall)} (LIKE {quoted(table.name)}) ON COMMIT DELETE ROWS"
            )
        return hall


async def open_postgres_source(url: str) -> PostgresSource:
    """Raises `StoreRefused` for what is no database of chatkeep, not of this version's schema, or served."""
    with _translated():
        connection = await _connected(url)
        try:
            await _refuse_other_schema(connection)
            source = PostgresSource(url, connection)
            await source.refuse_served()
            await connection.execute(SNAPSHOT)
        except BaseException:
            connection.terminate()
            raise
    return source


async def open_postgres_target(url: str) -> PostgresTarget:
    """Its schema is brought up to date. Raises `StoreRefused`, also while another copy into it is at work."""
    _name(url)
    migrate(url)
    with _translated():
        connection = await _connected(url)
        try:
            await connection.execute(f"SET lock_timeout = {PATIENCE_MS}")
            await connection.execute("SELECT pg_advisory_lock($1)", ONE_AT_A_TIME)
        except asyncpg.LockNotAvailableError:
            connection.terminate()
            raise StoreRefused("Another `chatkeep copy` into this database is at work.") from None
        except BaseException:
            connection.terminate()
            raise
    return PostgresTarget(url, connection)


def _name(url: str) -> str:
    """The URL without what people must not see. Raises `StoreRefused` for one that is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise StoreRefused("The database's URL cannot be read.") from None  # it may hold a password
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


async def _connected(url: str) -> asyncpg.Connection:
    _name(url)
    try:
        connection = await connect(url)
    except ENGINE_ERRORS as error:
        raise StoreRefused(f"The database cannot be opened: {error}") from error
    try:
        if await connection.fetchval("SELECT to_regclass($1)", LEDGER) is None:
            raise StoreRefused(f"{_name(url)} is no database of chatkeep.")
        await connection.execute(
            f"{binding(None, 'SESSION')}; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0"
        )
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _refuse_other_schema(connection: asyncpg.Connection) -> None:
    taken = {row[0] for row in await connection.fetch("SELECT number FROM chatkeep_schema")}
    steps = migrations.load("postgres")
    if max(taken, default=0) > len(steps):
        raise StoreRefused(f"The source has schema {max(taken)}, newer than this chatkeep's {len(steps)}.")
    if not taken.issuperset(step.number for step in steps):
        raise StoreRefused(
            "The source's schema is not up to date: run `chatkeep migrate --post` on it first."
        )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ChatkeepError:
        raise
    except ENGINE_ERRORS as error:
        raise told(error) from error


def _long(table: Table) -> list[str]:
    return [name for name, kind in table.columns.items() if kind in ("text", "bytes")]


def _of(table: Table) -> Statements:
    return Statements(table, lambda n: f"${n}")
