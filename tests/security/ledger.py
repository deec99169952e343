"""The database seen from outside: hashes of an organisation's rows, and putting everything back as it was.

Works beside the store on the same file, so that what a test says about rows does not go through the code under test.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, cast

import apsw

from tests.world import World

Rows = Mapping[str, list[tuple[Any, ...]]]
ORGANISATIONS = "organisations"
MEASURED = re.compile(r'"response_time_ms":[0-9]+')


class Dice:
    """Ids and secrets that come in the same order after each `turn`, so that answers can be compared byte by byte."""

    def __init__(self) -> None:
        self._thrown = 0

    def turn(self) -> None:
        """Begin anew."""
        self._thrown = 0

    def uuid7(self) -> str:
        """The next id."""
        self._thrown += 1
        return f"01990000-0000-7000-8000-{self._thrown:012x}"

    def secret(self, characters: int) -> str:
        """The next secret."""
        self._thrown += 1
        return f"{self._thrown:0{characters}d}"


class Ledger:
    """All rows of a world's store."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._store = cast("Any", world.system.store)
        self._reader = apsw.Connection(str(self._store._path), flags=apsw.SQLITE_OPEN_READONLY)
        self._tables = self._own_tables()
        self._columns = {name: self._columns_of(name) for name in self._tables}
        self._kept: dict[str, Rows] = {}
        self._now = ("", -1)
        self._kept_time_us = 0
        self.dice = Dice()

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def digest(self, organisation_id: str) -> str:
        """A hash over every row of one organisation, in every table."""
        digest = hashlib.sha256()
        for name, rows in self.rows_of(organisation_id).items():
            digest.update(name.encode())
            for row in rows:
                told = dict(zip(self._columns[name], row, strict=True))
                told.pop("response_time_ms", None)  # a duration, here and in what the journal says of it
                digest.update(MEASURED.sub("", repr(told)).encode())
        return digest.hexdigest()

    def rows_of(self, organisation_id: str) -> Rows:
        """Every row of one organisation by table."""
        return {name: self._select(name, organisation_id) for name in self._tables}

    def everything(self) -> Rows:
        """Every row there is by table."""
        return {name: self._reader.execute(f"SELECT * FROM {name}").fetchall() for name in self._tables}

    def keep(self, state: str) -> None:
        """Remember all rows and the clock under a name for `restore`."""
        self._kept[state] = self.everything()
        self._now = (state, self._version())
        self._kept_time_us = self._world.clock._now_us
        object.__setattr__(self._world.system, "entropy", self.dice)  # frozen for everybody else

    async def restore(self, state: str) -> None:
        """Put rows, clock, dice and what the process remembers back to where `keep` found them."""
        self._world.clock._now_us = self._kept_time_us
        rendered = self._world.server.house.rendered
        rendered._bodies.clear()
        rendered._bytes = 0
        self.dice.turn()
        if (state, self._version()) != self._now:
            await self._store._writer.submit(lambda: self._put_back(self._kept[state]))
            self._now = (state, self._version())

    async def change(self, *statements: tuple[str, tuple[Any, ...]]) -> None:
        """Run SQL that the server does not have."""

        def step() -> None:
            self._store._writer.connection.execute("PRAGMA defer_foreign_keys = ON")
            for sql, values in statements:
                self._store._writer.connection.execute(sql, values)

        await self._store._writer.submit(step)

    async def insert(self, rows: Rows) -> None:
        """Add rows as they are."""

        def step() -> None:
            for name, each in rows.items():
                for row in each:
                    self._insert(name, row)

        await self._store._writer.submit(step)

    async def erase(self, organisation_id: str) -> None:
        """As if the organisation had never been."""
        keys = {name: "id" if name == ORGANISATIONS else "organisation_id" for name in self._tables}
        await self.change(
            *((f"DELETE FROM {name} WHERE {key} = ?", (organisation_id,)) for name, key in keys.items())
        )

    async def clone(
        self, source: str, target: str, *, without: frozenset[str], words: Mapping[str, str]
    ) -> None:
        """Give organisation `target` a copy of every row of `source`, same ids and all, with `words` exchanged."""

        def step() -> None:
            connection = self._store._writer.connection
            connection.execute("PRAGMA defer_foreign_keys = ON")
            for name in self._tables:
                if name == ORGANISATIONS or name in without:
                    continue
                connection.execute(f"DELETE FROM {name} WHERE organisation_id = ?", (target,))
                place = self._columns[name].index("organisation_id")
                for row in connection.execute(
                    f"SELECT * FROM {name} WHERE organisation_id = ?", (source,)
                ).fetchall():
                    copy = [_exchanged(value, words) for value in row]
                    copy[place] = target
                    if name == "principals":
                        copy[self._columns[name].index("email")] = None  # unique on the whole server
                    self._insert(name, tuple(copy))

        await self._store._writer.submit(step)

    def _put_back(self, kept: Rows) -> None:
        self._store._writer.connection.execute("PRAGMA defer_foreign_keys = ON")
        for name in self._tables:
            self._store._writer.connection.execute(f"DELETE FROM {name}")
        for name, rows in kept.items():
            for row in rows:
                self._insert(name, row)

    def _insert(self, name: str, row: tuple[Any, ...]) -> None:
        places = ", ".join("?" * len(row))
        self._store._writer.connection.execute(f"INSERT INTO {name} VALUES ({places})", row)

    def _select(self, name: str, organisation_id: str) -> list[tuple[Any, ...]]:
        key = "id" if name == ORGANISATIONS else "organisation_id"
        return self._reader.execute(f"SELECT * FROM {name} WHERE {key} = ?", (organisation_id,)).fetchall()

    def _own_tables(self) -> list[str]:
        found = self._reader.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rootpage")
        names = [name for (name,) in found if not name.startswith("sqlite_")]
        return [
            name for name in names if name == ORGANISATIONS or "organisation_id" in self._columns_of(name)
        ]

    def _columns_of(self, name: str) -> list[str]:
        return [row[1] for row in self._reader.execute(f"PRAGMA table_info({name})")]

    def _version(self) -> int:
        row: Any = self._reader.execute("PRAGMA data_version").fetchone()
        return int(row[0])


def _exchanged(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for old, new in words.items():
            value = value.replace(old, new)
    elif isinstance(value, bytes):
        for old, new in words.items():
            value = value.replace(old.encode(), new.encode())
    return value
