"""A transaction on PostgreSQL: runs named statements on one connection, for one organisation or for the system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from chatkeep.domain.event import Event
from chatkeep.domain.ids import OrganisationId
from chatkeep.store import statements
from chatkeep.store.driver import Row, Value
from chatkeep.store.postgres_errors import translate
from chatkeep.store.statements import Numbered


class Unsent:
    """Rows that wait to be inserted: those of one statement go in one round trip."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._rows: dict[str, list[list[Value]]] = {}
        self._tables: set[str] = set()

    def add(self, statement: Numbered, rows: Sequence[list[Value]]) -> None:
        """Insert these soon."""
        self._rows.setdefault(statement.text, []).extend(rows)
        self._tables.add(statement.table)

    def may_matter_to(self, statement: Numbered) -> bool:
        """Whether this statement could tell that they are not there yet."""
        return bool(self._rows) and statement.may_tell(self._tables)

    async def send(self) -> None:
        """Insert them now, in the order of their first."""
        rows, self._rows = self._rows, {}
        self._tables.clear()
        for text, values in rows.items():
            await self._connection.executemany(text, values)


class PostgresTransaction:
    """See `driver.Transaction`. With a place for what is `unsent` it is a write: there, statements lock the rows that
    they are marked for.
    """

    __slots__ = ("_connection", "_sql", "_unsent", "announced", "has_written", "organisation_id")

    def __init__(
        self,
        connection: asyncpg.Connection,
        sql: Mapping[str, Numbered],
        organisation_id: OrganisationId | None,
        unsent: Unsent | None = None,
    ) -> None:
        self._connection = connection
        self._sql = sql
        self._unsent = unsent
        self.organisation_id = organisation_id
        self.announced: list[Event] = []
        self.has_written = False

    async def one(self, name: str, /, **values: Value) -> Row | None:
        """The first row, or None."""
        text, bound = await self._ready(name, values)
        row: Row | None = await self._connection.fetchrow(text, *bound)
        return row

    async def all(self, name: str, /, **values: Value) -> list[Row]:
        """All rows."""
        text, bound = await self._ready(name, values)
        rows: list[Row] = await self._connection.fetch(text, *bound)
        return rows

    async def run(self, name: str, /, **values: Value) -> int:
        """Write; the number of rows touched."""
        text, bound = await self._ready(name, values)
        try:
            status: str = await self._connection.execute(text, *bound)
        except asyncpg.IntegrityConstraintViolationError as error:
            raise translate(error) from error  # not in the writer: a body may say what the conflict is about
        return int(status.rsplit(" ", 1)[1])

    async def put(self, name: str, /, rows: Sequence[Mapping[str, Value]]) -> None:
        """Insert rows whose keys are sure to be new: with all that waits, once that could matter."""
        assert self._unsent is not None, f"{name} needs a write"
        statement = self._named(name)
        if rows:
            self._unsent.add(statement, [self._bound(statement, dict(row)) for row in rows])

    def announce(self, event: Event) -> None:
        """Have an event told once it is durable."""
        self.announced.append(event)

    async def _ready(self, name: str, values: dict[str, Any]) -> tuple[str, list[Value]]:
        statement = self._named(name)
        bound = self._bound(statement, values)
        if self._unsent is None:
            return statement.text, bound
        if self._unsent.may_matter_to(statement):
            await self._unsent.send()
        return statement.locking, bound

    def _named(self, name: str) -> Numbered:
        if self.organisation_id is not None:
            assert not name.startswith(statements.SYSTEM), f"{name} needs a system transaction"
        else:
            assert name.startswith(statements.SYSTEM), f"{name} needs an organisation"
        statement = self._sql[name]
        self.has_written |= statement.is_write
        return statement

    def _bound(self, statement: Numbered, values: dict[str, Any]) -> list[Value]:
        if self.organisation_id is not None:
            values["organisation_id"] = self.organisation_id
        return [values[each] for each in statement.names]
