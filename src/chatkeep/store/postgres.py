"""The PostgreSQL plug of the store: asyncpg, group commit, row-level security, LISTEN and NOTIFY.

Only wiring and the command line name this module. A store belongs to the event loop that uses it first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from chatkeep.domain.errors import ChatkeepError, ShuttingDown
from chatkeep.domain.ids import ChatId, OrganisationId
from chatkeep.store import statements
from chatkeep.store.agreements import refuse_half_copied
from chatkeep.store.driver import Body, Elsewhere, Listener, Summoned
from chatkeep.store.postgres_bell import PostgresBell
from chatkeep.store.postgres_connections import Connections, binding
from chatkeep.store.postgres_migrate import migrate
from chatkeep.store.postgres_moment import DatabaseClock, Moments
from chatkeep.store.postgres_transaction import PostgresTransaction
from chatkeep.store.postgres_writer import Writer

T = TypeVar("T")
READERS, RECALLERS = 4, 4
RECALLED_MAX = 20_000
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresStore:
    """The store on one PostgreSQL database; see `driver.Store`. Make it with `open_postgres`."""

    is_shared = True

    def __init__(self, url: str, clock: DatabaseClock) -> None:
        self.clock = clock
        self._sql = statements.load_numbered("postgres")
        self._readers = Connections(url, READERS)
        self._recallers = Connections(url, RECALLERS)
        self._moments = Moments(Connections(url, 1))
        self._writer = Writer(url, self._sql)
        self._bell = PostgresBell(url, clock)
        self._writer.listeners.append(self._bell.ring)
        self._recalled_at: Hashable = None
        self._recalled: dict[Hashable, asyncio.Task[Any]] = {}
        self._is_closed = False

    async def write(
        self, organisation_id: OrganisationId | None, body: Body[T], *, about: ChatId | None = None
    ) -> T:
        """Run `body` in a transaction; returns after the commit that holds it."""
        self._check_open()
        written: T = await self._writer.submit(organisation_id, about, body)
        return written

    async def read(self, organisation_id: OrganisationId | None, body: Body[T]) -> T:
        """Run `body` in one snapshot."""
        self._check_open()
        async with self._readers.borrow() as lent:
            connection = lent.connection
            await connection.execute(f"{SNAPSHOT}; {binding(organisation_id)}")
            try:
                return await body(PostgresTransaction(connection, self._sql, organisation_id))
            finally:
                if not connection.is_closed():
                    await connection.execute("ROLLBACK")

    async def peek(self, organisation_id: OrganisationId | None, body: Body[T]) -> T:
        """Run `body` in one snapshot."""
        return await self.read(organisation_id, body)

    async def recall(self, organisation_id: OrganisationId | None, key: Hashable, body: Body[T]) -> T:
        """Run `body`, each statement for itself, unless its answer is known and nothing was committed since. Those who
        ask for the same at about the same time are answered together.
        """
        self._check_open()
        now = await self._moments.now()
        if now != self._recalled_at or len(self._recalled) >= RECALLED_MAX:
            self._recalled = {}
            self._recalled_at = now
        recalled = self._recalled
        known: asyncio.Task[T] | None = recalled.get(key)
        if known is None:
            known = recalled[key] = asyncio.create_task(self._recall(organisation_id, body))

            def forget(failed: asyncio.Task[T]) -> None:
                if failed.cancelled() or failed.exception() is not None:
                    del recalled[key]  # the next one asks again

            known.add_done_callback(forget)
        return known.result() if known.done() else await asyncio.shield(known)

    async def _recall(self, organisation_id: OrganisationId | None, body: Body[T]) -> T:
        async with self._recallers.borrow(organisation_id) as lent:
            await lent.bind(organisation_id)
            return await body(PostgresTransaction(lent.connection, self._sql, organisation_id))

    def listen(self, listener: Listener) -> None:
        """Have `listener` called with the events of each commit."""
        self._writer.listeners.append(listener)

    def hear(self, listener: Elsewhere) -> None:
        """Have `listener` called with what other nodes have committed."""
        self._bell.hear(listener)

    def summon(self) -> None:
        """Have the other nodes look after runs soon."""
        self._bell.summon()

    def heed(self, listener: Summoned) -> None:
        """Have `listener` called when another node summons."""
        self._bell.heed(listener)

    def tell_moment(self, listener: Callable[[Hashable | None], object]) -> None:
        """Tell the newest snapshot once the server has told it; None if it does not, and once closed."""
        if self._is_closed:
            listener(None)
        else:
            self._moments.tell(lambda found: listener(None if isinstance(found, ChatkeepError) else found))

    def is_healthy(self) -> bool:
        """Whether the database has answered lately."""
        return not self._is_closed and self._bell.is_answered

    async def close(self) -> None:
        """Finish accepted writes, then let go of all connections."""
        self._is_closed = True
        await self._writer.close()
        await self._bell.close()
        for connections in (self._readers, self._recallers, self._moments.connections):
            await connections.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ShuttingDown()
        self._bell.start()


def open_postgres(url: str) -> PostgresStore:
    """Bring the database's schema up to date and return the store. Raises `StoreRefused`, also while a copy into it has
    not ended.
    """
    schema = migrate(url)
    refuse_half_copied(schema.copied_from)
    return PostgresStore(url, schema.clock)
