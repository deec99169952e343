"""Rows in an SQLite file; see `rows.Rows`. Reads beside the store, writes on the store's own thread."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import apsw

from tests.security.rows import ORGANISATIONS, Found, Statement, key_of, told
from tests.world import World


class SqliteRows:
    """The rows of a world's file."""

    def __init__(self, world: World) -> None:
        self._store = cast("Any", world.system.store)
        self._reader = apsw.Connection(str(self._store._path), flags=apsw.SQLITE_OPEN_READONLY)
        self.columns = self._all_columns()
        self._kept: dict[str, Found] = {}

    async def digest(self, organisation_id: str) -> str:
        """A hash over every row of one organisation in every table."""
        digest = hashlib.sha256()
        for name, rows in (await self.of(organisation_id)).items():
            digest.update(name.encode())
            for row in rows:
                digest.update(told(self.columns[name], row).encode())
        return digest.hexdigest()

    async def of(self, organisation_id: str) -> Found:
        """Every row of one organisation."""
        return {
            name: self._reader.execute(
                f"SELECT * FROM {name} WHERE {key_of(name)} = ?", (organisation_id,)
            ).fetchall()
            for name in self.columns
        }

    async def all(self) -> Found:
        """Every row there is."""
        return {name: self._reader.execute(f"SELECT * FROM {name}").fetchall() for name in self.columns}

    async def version(self) -> int:
        """Moves with each commit."""
        row: Any = self._reader.execute("PRAGMA data_version").fetchone()
        return int(row[0])

    async def change(self, *statements: Statement) -> None:
        """Run SQL that the server does not have."""

        def step() -> None:
            self._connection.execute("PRAGMA defer_foreign_keys = ON")
            for sql, values in statements:
                self._connection.execute(sql, values)

        await self._store._writer.submit(step)

    async def insert(self, found: Found) -> None:
        """Add rows as they are."""
        await self._store._writer.submit(lambda: self._insert(found))

    async def keep(self, state: str) -> None:
        """Remember all rows under a name."""
        self._kept[state] = await self.all()

    async def put_back(self, state: str) -> None:
        """Make all rows what they were when they were kept."""

        def step() -> None:
            self._connection.execute("PRAGMA defer_foreign_keys = ON")
            for name in self.columns:
                self._connection.execute(f"DELETE FROM {name}")
            self._insert(self._kept[state])

        await self._store._writer.submit(step)

    async def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    @property
    def _connection(self) -> apsw.Connection:
        connection: apsw.Connection = self._store._writer.connection
        return connection

    def _insert(self, found: Found) -> None:
        self._connection.execute("PRAGMA defer_foreign_keys = ON")
        for name, rows in found.items():
            for row in rows:
                places = ", ".join("?" * len(row))
                self._connection.execute(f"INSERT INTO {name} VALUES ({places})", row)

    def _all_columns(self) -> dict[str, tuple[str, ...]]:
        tables = self._reader.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rootpage")
        columns = {name: self._columns_of(name) for (name,) in tables if not name.startswith("sqlite_")}
        return {
            name: its for name, its in columns.items() if name == ORGANISATIONS or "organisation_id" in its
        }

    def _columns_of(self, name: str) -> tuple[str, ...]:
        return tuple(row[1] for row in self._reader.execute(f"PRAGMA table_info({name})"))
