"""Whether anything was committed to PostgreSQL since an earlier look, and what time it is there.

A snapshot's text names the transactions that were over when it was taken: two that are equal saw the same rows. All who
ask while a look is under way share the next one, so a thousand who ask cost one round trip.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import TypeAlias

import asyncpg

from chatkeep.domain.errors import ChatkeepError
from chatkeep.domain.text import US
from chatkeep.store.postgres_connections import Connections, Lent

Moment: TypeAlias = tuple[Lent, str]
"""With the connection it was found by: a server that crashed may use the numbers of transactions again."""


class Moments:
    """Looks at the newest snapshot, for all who ask at about the same time at once."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self._waiting: list[Callable[[Moment | ChatkeepError], object]] = []
        self._looking: asyncio.Task[None] | None = None

    async def now(self) -> Moment:
        """Equal to an earlier value only if nothing was committed in between. Raises `StoreBusy`, `StoreLost`."""
        told: asyncio.Future[Moment | ChatkeepError] = asyncio.get_running_loop().create_future()

        def tell(found: Moment | ChatkeepError) -> None:
            if not told.done():  # cancelled
                told.set_result(found)

        self.tell(tell)
        found = await told
        if isinstance(found, ChatkeepError):
            raise found
        return found

    def tell(self, listener: Callable[[Moment | ChatkeepError], object]) -> None:
        """Have `listener` called on the event loop with what `now` would return or raise."""
        self._waiting.append(listener)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="store moment")

    async def _look(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # whoever asks in the same turn of the loop
                waiting, self._waiting = self._waiting, []
                found: Moment | ChatkeepError
                try:
                    async with self.connections.borrow() as lent:
                        snapshot = await lent.connection.fetchval("SELECT pg_current_snapshot()::text")
                    found = lent, snapshot
                except ChatkeepError as error:
                    found = error
                for listener in waiting:
                    asyncio.get_running_loop().call_soon(listener, found)
        finally:
            self._looking = None


async def time_at(connection: asyncpg.Connection) -> int:
    """What time it is there, microseconds since 1970-01-01 UTC."""
    now_us: int = await connection.fetchval(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    )
    return now_us


DRIFT = 1e-4
"""How much a machine's steady clock may be off from the database's, in a second."""


class DatabaseClock:
    """The database's time, the same for all its nodes: read there now and then, counted on by this machine's steady
    clock. A reading is off by at most half the time it took: one that took long does not replace a better one.
    """

    def __init__(self, now_us: int, took_s: float = 0.0) -> None:
        self._offset_us, self._error_s, self._read_s = 0, inf, monotonic()
        self.correct(now_us, took_s)

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return self._offset_us + int(monotonic() * US)

    def correct(self, now_us: int, took_s: float) -> None:
        """The database's time was read; that took so long and is over just now."""
        read_s = monotonic()
        offset_us = now_us + int(took_s / 2 * US) - int(read_s * US)
        error_s = took_s / 2
        known_s = self._error_s + DRIFT * (read_s - self._read_s)
        was_set = abs(offset_us - self._offset_us) > (error_s + known_s) * US
        if error_s <= known_s or was_set:
            self._offset_us, self._error_s, self._read_s = offset_us, error_s, read_s
