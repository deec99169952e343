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


class PostgresTransaction:
    """See `driver.Transaction`. In a write, statements lock the rows that they are marked for."""

    __slots__ = ("_connection", "_is_write", "_sql", "announced", "has_written", "organisation_id")

    def __init__(
        self,
        connection: asyncpg.Connection,
        sql: Mapping[str, Numbered],
        organisation_id: OrganisationId | None,
        *,
        is_write: bool,
    ) -> None:
        self._connection = connection
        self._sql = sql
        self._is_write = is_write
        self.organisation_id = organisation_id
        self.announced: list[Event] = []
        self.has_written = False

    async def one(self, name: str, /, **values: Value) -> Row | None:
        """The first row, or None."""
        text, bound = self._bound(name, values)
        row: Row | None = await self._connection.fetchrow(text, *bound)
        return row

    async def all(self, name: str, /, **values: Value) -> list[Row]:
        """All rows."""
        text, bound = self._bound(name, values)
        rows: list[Row] = await self._connection.fetch(text, *bound)
        return rows

    async def run(self, name: str, /, **values: Value) -> int:
        """Write; the number of rows touched."""
        text, bound = self._bound(name, values)
        try:
            status: str = await self._connection.execute(text, *bound)
        except asyncpg.IntegrityConstraintViolationError as error:
            raise translate(error) from error  # not in the writer: a body may say what the conflict is about
        return int(status.rsplit(" ", 1)[1])

    async def run_many(self, name: str, /, rows: Sequence[Mapping[str, Value]]) -> None:
        """Write each of `rows` with the same statement."""
        bound = [self._bound(name, dict(row)) for row in rows]
        if not bound:
            return
        try:
            await self._connection.executemany(bound[0][0], [values for _, values in bound])
        except asyncpg.IntegrityConstraintViolationError as error:
            raise translate(error) from error

    def announce(self, event: Event) -> None:
        """Have an event told once it is durable."""
        self.announced.append(event)

    def _bound(self, name: str, values: dict[str, Any]) -> tuple[str, list[Value]]:
        if self.organisation_id is not None:
            assert not name.startswith(statements.SYSTEM), f"{name} needs a system transaction"
            values["organisation_id"] = self.organisation_id
        else:
            assert name.startswith(statements.SYSTEM), f"{name} needs an organisation"
        statement = self._sql[name]
        self.has_written |= statement.is_write
        text = statement.locking if self._is_write else statement.text
        return text, [values[each] for each in statement.names]
