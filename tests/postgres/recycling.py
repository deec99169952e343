"""Making a used database what it was: `mark` remembers the state of a template, `empty` restores a copy of it.

Rows go and files shrink to nothing, sequences and the template's own rows are as before. Tables, types, functions,
rights and settings are compared, not repaired: if any was touched, the database is of no more use. For `databases`.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import asyncpg

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
_END_CONNECTIONS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = $1 AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@dataclass(frozen=True, slots=True)
class _Rows:
    schema: str
    table: str
    columns: list[str]
    copied: bytes


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
    await connection.execute(_END_CONNECTIONS.replace("$1", f"'{name}'"))


async def mark(connection: asyncpg.Connection) -> Mark:
    """The state of the database that the connection is to; all of its tables are vacuumed, as `empty` will do."""
    tables = await connection.fetch(_TABLES)
    if tables:
        await connection.execute(f"VACUUM {', '.join(table['name'] for table in tables)}")
    rows = {table["name"]: await _rows(connection, table["name"]) for table in tables if table["has_rows"]}
    sequences = {row["name"]: row["last_value"] for row in await connection.fetch(_SEQUENCES)}
    return Mark(await connection.fetchval(_FINGERPRINT), rows, sequences)


async def empty(connection: asyncpg.Connection, state: Mark) -> bool:
    """End all other connections and restore the state. False, and nothing done, if more than rows has changed."""
    await end_connections(connection, await connection.fetchval("SELECT current_database()"))
    if await connection.fetchval(_FINGERPRINT) != state.fingerprint:
        return False
    for row in await connection.fetch(_SEQUENCES):
        last = state.sequences[row["name"]]
        if row["last_value"] != last:
            value, is_called = (row["start_value"], False) if last is None else (last, True)
            await connection.execute(
                "SELECT setval($1::text::regclass, $2, $3)", row["name"], value, is_called
            )
    used = [table["name"] for table in await connection.fetch(_TABLES) if table["has_rows"]]
    used += [name for name in state.rows if name not in used]
    if used:
        await connection.execute("; ".join(f"DELETE FROM {name}" for name in used))
        await connection.execute(f"VACUUM (INDEX_CLEANUP ON) {', '.join(used)}")
    for rows in state.rows.values():
        await connection.copy_to_table(
            rows.table,
            schema_name=rows.schema,
            columns=rows.columns,
            source=BytesIO(rows.copied),
            format="binary",
        )
    return True


async def _rows(connection: asyncpg.Connection, name: str) -> _Rows:
    schema, table, columns = await connection.fetchrow(_COLUMNS, name)
    into = BytesIO()
    await connection.copy_from_table(table, schema_name=schema, columns=columns, output=into, format="binary")
    return _Rows(schema, table, columns, into.getvalue())
