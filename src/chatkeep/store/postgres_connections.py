"""Connections to PostgreSQL: how they are opened, bound to one organisation, lent out and replaced.

Who works for an organisation has the role `chatkeep_tenant` and sees its rows alone, by row-level security; work of the
system itself has the role `chatkeep_system`. The roles are taken with each binding, so the role that logs in may be any
that may take them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from chatkeep.domain.errors import ChatkeepError
from chatkeep.domain.ids import OrganisationId
from chatkeep.store.postgres_errors import is_connection_lost, told

CONNECT_S = 3.0
LOCK_TIMEOUT_MS = 2_000
STATEMENT_TIMEOUT_MS = 30_000
IDLE_IN_TRANSACTION_MS = 20_000
CACHED_STATEMENTS = 512
READ_ONLY = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
TENANT, SYSTEM = "chatkeep_tenant", "chatkeep_system"


async def connect(url: str) -> asyncpg.Connection:
    """A new connection with chatkeep's settings. Raises what `translate` knows."""
    return await asyncpg.connect(
        url,
        timeout=CONNECT_S,
        statement_cache_size=CACHED_STATEMENTS,
        max_cached_statement_lifetime=0,
        server_settings={
            "application_name": "chatkeep",
            "jit": "off",
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            "statement_timeout": str(STATEMENT_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
        },
    )


def binding(organisation_id: OrganisationId | None, scope: str = "LOCAL") -> str:
    """The statements that bind a transaction (`LOCAL`) or a connection (`SESSION`) to one organisation, or to none."""
    role = SYSTEM if organisation_id is None else TENANT
    name = "" if organisation_id is None else organisation_id.replace("'", "''")
    return f"SET {scope} ROLE {role}; SET {scope} chatkeep.organisation_id = '{name}'"


class Lent:
    """A connection that is lent out, and which organisation it was bound to last; "" for not known."""

    __slots__ = ("bound_to", "connection")

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.bound_to: OrganisationId | str | None = ""

    async def bind(self, organisation_id: OrganisationId | None) -> None:
        """Bind the connection itself, for reading, if it is not bound so already."""
        if self.bound_to != organisation_id:
            self.bound_to = ""
            await self.connection.execute(f"{binding(organisation_id, 'SESSION')}; {READ_ONLY}")
            self.bound_to = organisation_id


class Connections:
    """Up to `size` connections, opened when needed. One whose borrower was cancelled, or that broke, is thrown away."""

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._free: list[Lent] = []
        self._places = asyncio.Semaphore(size)
        self._lent: set[Lent] = set()

    @asynccontextmanager
    async def borrow(self, organisation_id: OrganisationId | None = None) -> AsyncIterator[Lent]:
        """A connection, if possible one that was bound to this organisation before. Raises the store's errors."""
        async with self._places:
            lent = self._chosen(organisation_id)
            try:
                if lent is None:
                    lent = Lent(await connect(self._url))
                self._lent.add(lent)
                yield lent
            except ChatkeepError:
                self._give_back(lent)
                raise
            except Exception as error:
                if isinstance(error, asyncpg.PostgresError) and not is_connection_lost(error):
                    self._give_back(lent)
                else:
                    self._throw_away(lent)
                raise told(error) from error
            except BaseException:
                self._throw_away(lent)
                raise
            else:
                self._give_back(lent)

    async def close(self) -> None:
        """Close all; those that are lent out are ended."""
        for lent in (*self._free, *self._lent):
            lent.connection.terminate()
        self._free.clear()

    def _chosen(self, organisation_id: OrganisationId | None) -> Lent | None:
        while self._free:
            bound = [lent for lent in self._free if lent.bound_to == organisation_id]
            lent = bound[-1] if bound else self._free[-1]
            self._free.remove(lent)
            if not lent.connection.is_closed():
                return lent
        return None

    def _give_back(self, lent: Lent | None) -> None:
        if lent is None:
            return
        self._lent.discard(lent)
        if lent.connection.is_closed():
            return
        if lent.connection.is_in_transaction():
            self._throw_away(lent)
        else:
            self._free.append(lent)

    def _throw_away(self, lent: Lent | None) -> None:
        if lent is not None:
            self._lent.discard(lent)
            lent.connection.terminate()
