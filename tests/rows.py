"""Rows of a store seen from outside: by a connection of the test's own, on either engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apsw
import asyncpg

TABLES = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    "postgres": "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    " AND relname <> 'chatkeep_schema'",
}


def query(store: Any, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows of a statement whose parameters are written `?`."""
    if store.is_shared:
        with ThreadPoolExecutor(1) as elsewhere:  # the caller's loop may be running
            return elsewhere.submit(asyncio.run, _asked(store._writer._url, sql, values)).result()
    connection = apsw.Connection(str(store._path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def tables(store: Any) -> list[str]:
    """The names of all tables."""
    return [name for (name,) in query(store, TABLES["postgres" if store.is_shared else "sqlite"])]


async def _asked(url: str, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    for number in range(1, len(values) + 1):
        sql = sql.replace("?", f"${number}", 1)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET ROLE chatkeep_system")
        return [tuple(row) for row in await connection.fetch(sql, *values)]
    finally:
        connection.terminate()
