"""Rows in a PostgreSQL database; see `rows.Rows`. Works as superuser, whom row-level security does not bind.

Digests are made and rows put back by the server itself, in one round trip each: the isolation matrix asks thousands of
times. Its copies of kept rows are in the schema `kept`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count

import asyncpg

from tests.security.rows import MEASURED, MEASURED_COLUMN, ORGANISATIONS, Found, Statement, key_of

_COLUMNS = """
SELECT relname AS table, array_agg(attname::text ORDER BY attnum) AS columns,
       array_agg(atttypid = 'bytea'::regtype ORDER BY attnum) AS are_bytes
FROM pg_class c JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
GROUP BY c.oid, relname HAVING relname = $1 OR bool_or(attname = 'organisation_id') ORDER BY c.oid
"""


async def open_postgres_rows(superuser_url: str) -> PostgresRows:
    """The rows of the database that the URL names."""
    beside = await asyncpg.connect(
        superuser_url,
        # No trigger fires, so that references may be broken; and durability is of no use here.
        server_settings={
            "session_replication_role": "replica",
            "synchronous_commit": "off",
            "search_path": "public",
        },
    )
    tables = await beside.fetch(_COLUMNS, ORGANISATIONS)
    assert tables, "there are no tables"
    columns = {row["table"]: tuple(row["columns"]) for row in tables}
    parts = [_part(row["table"], dict(zip(row["columns"], row["are_bytes"], strict=True))) for row in tables]
    return PostgresRows(beside, columns, " UNION ALL ".join(parts))


class PostgresRows:
    """The rows of one database. Make it with `open_postgres_rows`."""

    def __init__(
        self, beside: asyncpg.Connection, columns: Mapping[str, tuple[str, ...]], parts: str
    ) -> None:
        self.columns = columns
        self._beside = beside
        self._digest = f"SELECT md5(string_agg(part, E'\\n' ORDER BY part)) FROM ({parts}) AS parts (part)"
        self._numbers = count()
        self._kept: dict[str, int] = {}

    async def digest(self, organisation_id: str) -> str:
        """A hash over every row of one organisation in every table."""
        return str(await self._beside.fetchval(self._digest, organisation_id))

    async def of(self, organisation_id: str) -> Found:
        """Every row of one organisation."""
        return {
            name: await self._fetch(f"SELECT * FROM {name} t WHERE {key_of(name)} = $1", organisation_id)
            for name in self.columns
        }

    async def all(self) -> Found:
        """Every row there is."""
        return {name: await self._fetch(f"SELECT * FROM {name} t") for name in self.columns}

    async def version(self) -> str:
        """Moves with each commit, also of other databases."""
        return str(await self._beside.fetchval("SELECT pg_current_snapshot()::text"))

    async def change(self, *statements: Statement) -> None:
        """Run SQL that the server does not have."""
        async with self._beside.transaction():
            for sql, values in statements:
                await self._beside.execute(_numbered(sql), *values)

    async def insert(self, found: Found) -> None:
        """Add rows as they are."""
        async with self._beside.transaction():
            for name, rows in found.items():
                places = _numbered(", ".join("?" * len(self.columns[name])))
                await self._beside.executemany(f"INSERT INTO {name} VALUES ({places})", rows)

    async def keep(self, state: str) -> None:
        """Remember all rows under a name."""
        self._kept[state] = number = next(self._numbers)
        await self._beside.execute("CREATE SCHEMA IF NOT EXISTS kept")
        for name in self.columns:
            kept = f"kept.{name}_{number}"
            await self._beside.execute(
                f"CREATE TABLE {kept} AS SELECT t::text AS text, t AS row FROM {name} t"
            )
        await self._beside.execute(
            f"CREATE FUNCTION kept.put_back_{number}() RETURNS void LANGUAGE plpgsql AS "
            f"$$ BEGIN {self._putting_back(number)} END $$"
        )

    async def put_back(self, state: str) -> None:
        """Make all rows what they were when they were kept."""
        await self._beside.execute(f"SELECT kept.put_back_{self._kept[state]}()")

    async def close(self) -> None:
        """Let go of the database."""
        self._beside.terminate()

    def _putting_back(self, number: int) -> str:
        # Only the rows that are not as they were: an old version of a row stays in the file until somebody cleans up.
        steps = []
        for name in self.columns:
            kept = f"kept.{name}_{number}"
            steps += [
                f"DELETE FROM {name} t WHERE t::text NOT IN (SELECT text FROM {kept});",
                f"INSERT INTO {name} SELECT (row).* FROM {kept} WHERE text NOT IN (SELECT t::text FROM {name} t);",
            ]
        return "\n".join(steps)

    async def _fetch(self, sql: str, *values: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in await self._beside.fetch(f"{sql} ORDER BY t::text", *values)]


def _part(table: str, columns: Mapping[str, bool]) -> str:
    """The query of one table's rows as texts: each value quoted, so that no two rows look alike."""
    texts = [
        f"encode({name}, 'escape')" if is_bytes else f"{name}::text"
        for name, is_bytes in columns.items()
        if name != MEASURED_COLUMN
    ]
    values = ", ".join(f"quote_nullable({text})" for text in texts)
    row = f"concat_ws(',', '{table}', {values})"
    return f"SELECT regexp_replace({row}, '{MEASURED}', '', 'g') FROM {table} WHERE {key_of(table)} = $1"


def _numbered(sql: str) -> str:
    numbers = count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", sql)
