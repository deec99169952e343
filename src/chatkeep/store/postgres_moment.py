"""Whether anything was committed to PostgreSQL since an earlier look, and what time it is there.

A snapshot's text names the transactions that were over when it was taken: two that are equal saw the same rows. All who
ask while a look is under way share the next one, so a thousand who ask cost one round trip.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from chatkeep.domain.errors import ChatkeepError
from chatkeep.domain.text import US
from chatkeep.store.postgres_connections import Connections


class Moments:
    """Looks at the newest snapshot, for all who ask at about the same time at once."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self._waiting: list[asyncio.Future[str]] = []
        self._looking: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def now(self) -> str:
        """Equal to an earlier value only if nothing was committed in between. Raises `StoreBusy`, `StoreLost`."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        told: asyncio.Future[str] = loop.create_future()
        self._waiting.append(told)
        if self._looking is None:
            self._looking = loop.create_task(self._look(), name="store moment")
        return await told

    async def _look(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # whoever asks in the same turn of the loop
                waiting, self._waiting = self._waiting, []
                found: str | ChatkeepError
                try:
                    async with self.connections.borrow() as lent:
                        found = await lent.connection.fetchval("SELECT pg_current_snapshot()::text")
                except ChatkeepError as error:
                    found = error
                for told in waiting:
                    if told.done():
                        continue  # cancelled
                    if isinstance(found, ChatkeepError):
                        told.set_exception(found)
                    else:
                        told.set_result(found)
        finally:
            self._looking = None


class DatabaseClock:
    """The database's time, the same for all its nodes: read there now and then, counted on by this machine's steady
    clock. Its error is at most half the time that the last reading took.
    """

    def __init__(self, now_us: int, took_s: float = 0.0) -> None:
        self.correct(now_us, took_s)

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return self._offset_us + int(monotonic() * US)

    def correct(self, now_us: int, took_s: float) -> None:
        """The database's time was read; that took so long and is over just now."""
        self._offset_us = now_us + int(took_s / 2 * US) - int(monotonic() * US)
