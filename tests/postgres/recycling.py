"""Making a used database what it was: `mark` remembers the state of a template, `empty` restores a copy of it.

Rows go and files shrink to nothing, sequences and the template's own rows are as before. Tables, types, functions,
rights and settings are compared, not repaired: if any was touched, the database is of no more use. For `databases`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from io import BytesIO

import asyncpg

BREATH_S = 0.002

# A row's xmin is the transaction that wrote it, and a copy has the template's: one written since, or gone, shows.
_CATALOGS = (
    *(f"FROM pg_{name} WHERE oid >= 16384" for name in (
        "attrdef", "cast", "class", "collation", "constraint", "event_trigger", "extension", "largeobject_metadata",
        "operator", "policy", "proc", "publication", "rewrite", "statistic_ext", "trigger", "type",
    )),
    "FROM pg_attribute WHERE attrelid >= 16384",
    "FROM pg_index WHERE indexrelid >= 16384",
    "FROM pg_description WHERE objoid >= 16384",
    "FROM pg_namespace",
    "FROM pg_default_acl",
)  # fmt: skip
_FINGERPRINT = f"""
SELECT concat_ws(' ', {", ".join(f"(SELECT (count(*), max(xmin::text::bigint)) {where})" for where in _CATALOGS)},
    (SELECT (count(*), max(s.xmin::text::bigint)) FROM pg_db_role_setting s WHERE setdatabase = d.oid),
    d.datdba, d.datacl, d.datconnlimit)
FROM pg_database d WHERE datname = current_database()
"""
_TABLES = """
SELECT oid::regclass::text AS name, pg_relation_size(oid) > 0 AS has_rows FROM pg_class
WHERE relkind = 'r' AND oid >= 16384 ORDER BY oid
"""
_COLUMNS = """
SELECT nspname AS schema, relname AS table, array_agg(attname::text ORDER BY attnum) AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_attribute ON attrelid = c.oid
WHERE c.oid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' GROUP BY 1, 2
"""
_SEQUENCES = """
SELECT format('%I.%I', schemaname, sequencename) AS name, start_value, last_value FROM pg_sequences
"""
_SET_SEQUENCES = """
SELECT setval(name::regclass, value, is_called)
FROM unnest($1::text[], $2::bigint[], $3::bool[]) AS moved (name, value, is_called)
"""
_END_CONNECTIONS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = $1 AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@dataclass(frozen=True, slots=True)
class _Rows:
    schema: str
    table: str
    columns: list[str]
    copied: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Mark:
    """What a template is: `rows` are those of its tables that have any, by the table's name in SQL."""

    fingerprint: str
    rows: dict[str, _Rows]
    sequences: dict[str, int | None]


async def connect(url: str) -> asyncpg.Connection:
    """A superuser's connection for which no trigger fires and no foreign key is checked."""
    return await asyncpg.connect(url, server_settings={"session_replication_role": "replica"})


async def end_connections(connection: asyncpg.Connection, name: str) -> None:
    """End all others to this database, and wait until they have ended."""
    # PostgreSQL's own waiting is in steps of 100 ms.
    while await connection.fetchval(_END_CONNECTIONS, name):  # noqa: ASYNC110 - nobody tells when a backend has ended
        await asyncio.sleep(BREATH_S)


async def mark(connection: asyncpg.Connection) -> Mark:
    """The state of the database that the connection is to; all of its tables are vacuumed, as `empty` will do."""
    tables = await connection.fetch(_TABLES)
    if tables:
        await connection.execute(f"VACUUM {', '.join(table['name'] for table in tables)}")
    rows = {table["name"]: await _rows(connection, table["name"]) for table in tables if table["has_rows"]}
    sequences = {row["name"]: row["last_value"] for row in await connection.fetch(_SEQUENCES)}
    return Mark(await connection.fetchval(_FINGERPRINT), rows, sequences)


async def empty(connection: asyncpg.Connection, name: str, state: Mark) -> bool:
    """Restore the state of database `name`, which the connection is to, when all others to it have been ended.

    False, and nothing done, if more than rows has changed.
    """
    await end_connections(connection, name)
    if await connection.fetchval(_FINGERPRINT) != state.fingerprint:
        return False
    await _set_sequences(connection, state)
    used = [table["name"] for table in await connection.fetch(_TABLES) if table["has_rows"]]
    kept = {table for table, rows in state.rows.items() if await _digest(connection, table) == rows.digest}
    lost = sorted({*used, *state.rows} - kept)
    if lost:
        await connection.execute("; ".join(f"DELETE FROM {table}" for table in lost))
        await connection.execute(f"VACUUM (INDEX_CLEANUP ON) {', '.join(lost)}")
    for table in state.rows.keys() - kept:
        rows = state.rows[table]
        where = {"schema_name": rows.schema, "columns": rows.columns}
        await connection.copy_to_table(rows.table, **where, source=BytesIO(rows.copied), format="binary")
    return True


async def _set_sequences(connection: asyncpg.Connection, state: Mark) -> None:
    moved = [
        (row["name"], row["start_value"] if last is None else last, last is not None)
        for row in await connection.fetch(_SEQUENCES)
        if row["last_value"] != (last := state.sequences[row["name"]])
    ]
    if moved:
        await connection.fetch(_SET_SEQUENCES, *zip(*moved, strict=True))


async def _rows(connection: asyncpg.Connection, name: str) -> _Rows:
    schema, table, columns = await connection.fetchrow(_COLUMNS, name)
    into = BytesIO()
    await connection.copy_from_table(table, schema_name=schema, columns=columns, output=into, format="binary")
    return _Rows(schema, table, columns, into.getvalue(), await _digest(connection, name))


async def _digest(connection: asyncpg.Connection, name: str) -> str:
    query = f"SELECT md5(string_agg(row_text, '' ORDER BY row_text)) FROM (SELECT t::text AS row_text FROM {name} t) r"
    return str(await connection.fetchval(query))
