"""The shape of a schema, read off either engine in the same words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg

Key = tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """One table: columns with kind and whether they may be NULL, the primary key, unique keys with their conditions,
    references (columns, table, its columns, what happens when that row goes), and other indexes.
    """

    columns: dict[str, tuple[str, bool, str | None]]
    primary_key: Key
    unique: frozenset[tuple[Key, str]]
    references: frozenset[tuple[Key, str, Key, str]]
    indexes: frozenset[tuple[Key, str]]


KINDS = {
    "TEXT": "text",
    "INTEGER": "number",
    "BLOB": "bytes",
    "REAL": "fraction",
    "text": "text",
    "bigint": "number",
    "bytea": "bytes",
    "double precision": "fraction",
}
ACTIONS = {"c": "CASCADE", "a": "NO ACTION", "r": "RESTRICT", "n": "SET NULL", "d": "SET DEFAULT"}


def of_sqlite(connection: Any) -> dict[str, Shape]:
    """All tables by name."""
    tables = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return {name: _sqlite_table(connection, name) for (name,) in tables.fetchall()}


def _sqlite_table(connection: Any, name: str) -> Shape:
    rows = connection.execute(f"PRAGMA table_info({name})").fetchall()
    columns = {column: (KINDS[kind], not required, default) for _, column, kind, required, default, _ in rows}
    key = tuple(row[1] for row in sorted(rows, key=lambda row: row[5]) if row[5])
    unique: set[tuple[Key, str]] = set()
    indexes: set[tuple[Key, str]] = set()
    for _, index, is_unique, origin, _ in connection.execute(f"PRAGMA index_list({name})").fetchall():
        if origin == "pk":
            continue
        its = tuple(row[2] for row in connection.execute(f"PRAGMA index_info({index})").fetchall())
        found = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (index,)).get
        condition = str(found).partition(" WHERE ")[2]
        (unique if is_unique else indexes).add((its, _plain(condition)))
    references: dict[int, list[tuple[str, str, str, str]]] = {}
    for number, _, to, here, there, _, action, _ in connection.execute(
        f"PRAGMA foreign_key_list({name})"
    ).fetchall():
        references.setdefault(number, []).append((here, to, there, action))
    return Shape(
        columns,
        key,
        frozenset(unique),
        frozenset(
            (tuple(part[0] for part in parts), parts[0][1], tuple(part[2] for part in parts), parts[0][3])
            for parts in references.values()
        ),
        frozenset(indexes),
    )


_TABLES = """
SELECT oid, relname FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname NOT IN ('chatkeep_schema', 'commits')
"""
_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull, pg_get_expr(adbin, adrelid) FROM pg_attribute
LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_INDEXES = """
SELECT indisprimary, indisunique, coalesce(pg_get_expr(indpred, indrelid), ''),
       (SELECT array_agg(attname::text ORDER BY place)
        FROM unnest(indkey::int2[]) WITH ORDINALITY AS key (number, place)
        JOIN pg_attribute ON (attrelid, attnum) = (indrelid, number))
FROM pg_index WHERE indrelid = $1
"""
_REFERENCES = """
SELECT (SELECT array_agg(attname::text ORDER BY place) FROM unnest(conkey) WITH ORDINALITY AS key (number, place)
        JOIN pg_attribute ON (attrelid, attnum) = (conrelid, number)), confrelid::regclass::text,
       (SELECT array_agg(attname::text ORDER BY place) FROM unnest(confkey) WITH ORDINALITY AS key (number, place)
        JOIN pg_attribute ON (attrelid, attnum) = (confrelid, number)), confdeltype::text
FROM pg_constraint WHERE contype = 'f' AND conrelid = $1
"""


async def of_postgres(connection: asyncpg.Connection) -> dict[str, Shape]:
    """All tables by name, but those that only this engine has: the migrations' own, and which commits there were."""
    return {name: await _postgres_table(connection, oid) for oid, name in await connection.fetch(_TABLES)}


async def _postgres_table(connection: asyncpg.Connection, oid: int) -> Shape:
    rows = await connection.fetch(_COLUMNS, oid)
    columns = {
        column: (KINDS[kind], is_nullable, None if default is None else default.partition("::")[0])
        for column, kind, is_nullable, default in rows
    }
    indexes = [(*row[:3], tuple(row[3])) for row in await connection.fetch(_INDEXES, oid)]
    (key,) = [its for is_primary, _, _, its in indexes if is_primary]
    others = [
        (is_unique, (its, _plain(when))) for is_primary, is_unique, when, its in indexes if not is_primary
    ]
    return Shape(
        columns,
        key,
        frozenset(index for is_unique, index in others if is_unique),
        frozenset(
            (tuple(here), to, tuple(there), ACTIONS[action])
            for here, to, there, action in await connection.fetch(_REFERENCES, oid)
        ),
        frozenset(index for is_unique, index in others if not is_unique),
    )


def _plain(condition: str) -> str:
    """A condition as both engines would write it."""
    return condition.replace("(", "").replace(")", "").replace("::text", "")
