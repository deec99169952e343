"""A store's rows seen from beside it, whatever engine keeps them: what they are, and changing them by SQL.

What a test says about rows does not go through the code under test, and is not bound by row-level security.
"""

# ruff: noqa: PLC0415 - PostgreSQL's driver takes a tenth of a second to import, and half of the tests do without

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from tests.world import World

Found = Mapping[str, list[tuple[Any, ...]]]
"""Rows by table, the tables in the order in which they may refer to each other."""
Statement = tuple[str, tuple[Any, ...]]
"""SQL that both engines know, with `?` for its values."""
ORGANISATIONS = "organisations"
MEASURED_COLUMN = "response_time_ms"
MEASURED = r'"response_time_ms":[0-9]+'
"""A duration, as what the journal and remembered answers say of it: never the same twice."""


@dataclass(frozen=True)
class Database:
    """One on PostgreSQL: for chatkeep, and for who looks at it from beside."""

    url: str
    superuser_url: str


class Rows(Protocol):
    """All rows that belong to an organisation, and the organisations."""

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """By table, both in their order."""
        ...

    async def digest(self, organisation_id: str) -> str:
        """A hash over every row of one organisation in every table, all columns but what is measured."""
        ...

    async def of(self, organisation_id: str) -> Found:
        """Every row of one organisation."""
        ...

    async def all(self) -> Found:
        """Every row there is."""
        ...

    async def version(self) -> Hashable:
        """Equal to an earlier value only if nothing was committed in between."""
        ...

    async def change(self, *statements: Statement) -> None:
        """Run SQL that the server does not have; references may be broken in between."""
        ...

    async def insert(self, found: Found) -> None:
        """Add rows as they are."""
        ...

    async def keep(self, state: str) -> None:
        """Remember all rows under a name."""
        ...

    async def put_back(self, state: str) -> None:
        """Make all rows what they were when they were kept."""
        ...

    async def close(self) -> None:
        """Let go of the database."""
        ...


def key_of(table: str) -> str:
    """The column that names the organisation."""
    return "id" if table == ORGANISATIONS else "organisation_id"


@asynccontextmanager
async def open_rows(world: World, superuser_url: str | None) -> AsyncIterator[Rows]:
    """The rows of the world's store; the URL is of a superuser of its own database, None for a file."""
    rows: Rows
    if superuser_url is None:
        from tests.security.rows_sqlite import SqliteRows

        rows = SqliteRows(world)
    else:
        from tests.security.rows_postgres import open_postgres_rows

        rows = await open_postgres_rows(superuser_url)
    try:
        yield rows
    finally:
        await rows.close()


def told(columns: tuple[str, ...], row: tuple[Any, ...]) -> str:
    """A row as text, without what is measured."""
    named = dict(zip(columns, row, strict=True))
    named.pop(MEASURED_COLUMN, None)
    return re.sub(MEASURED, "", repr(named))
