"""Counts open event streams and WebSockets, and refuses those beyond the limits.

What this process has open it knows itself. Where other nodes may serve the same callers, each tells the store how many
it has, and a new one is admitted by the sum; a number that could not be told is told again with the next sign of life.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatkeep.domain.errors import RateLimited, Unavailable
from chatkeep.domain.ids import OrganisationId, PrincipalId
from chatkeep.services import nodes
from chatkeep.services.context import Context, System

Holder = tuple[OrganisationId, PrincipalId]


class Streams:
    """All open streams of this process."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._by_holder: Counter[Holder] = Counter()
        self._by_organisation: Counter[OrganisationId] = Counter()
        self._untold: set[Holder] = set()
        self._telling: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """How many are open."""
        return self._by_organisation.total()

    @asynccontextmanager
    async def admitted(self, ctx: Context) -> AsyncIterator[None]:
        """One open stream of the caller's. Raises `RateLimited` when there are too many."""
        holder = (ctx.principal.organisation_id, ctx.principal.id)
        self._check(holder)
        self._move(holder, 1)
        try:
            if self._system.store.is_shared:
                await nodes.count_stream(self._system, *holder, self._by_holder[holder])
            yield
        finally:
            self._move(holder, -1)
            if self._system.store.is_shared:
                self._untold.add(holder)
                if self._telling is None:
                    self._telling = asyncio.create_task(self.tell(), name="open streams")

    async def tell(self) -> None:
        """Tell the store what it may not know yet."""
        try:
            while self._untold:
                holder = self._untold.pop()
                try:
                    await nodes.put_streams(self._system, *holder, self._by_holder[holder])
                except Unavailable:
                    self._untold.add(holder)
                    return
        finally:
            self._telling = None

    def _check(self, holder: Holder) -> None:
        limits = self._system.limits
        if (
            self.count >= limits.streams_max
            or self._by_organisation[holder[0]] >= limits.streams_per_organisation_max
            or self._by_holder[holder] >= limits.streams_per_principal_max
        ):
            raise RateLimited(nodes.STREAMS_RETRY_S)

    def _move(self, holder: Holder, by: int) -> None:
        for counter, key in ((self._by_holder, holder), (self._by_organisation, holder[0])):
            counter[key] += by  # type: ignore[index]  # each with its own kind of key
            if not counter[key]:  # type: ignore[index]  # as above
                del counter[key]
