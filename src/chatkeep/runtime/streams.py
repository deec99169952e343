"""Counts open event streams and WebSockets, and refuses those beyond the limits.

What this process has open it knows itself. Where other nodes may serve the same callers, each tells the store how many
it has, and a new one is admitted by the sum; a number that could not be told is told again with the next sign of life.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, TypeVar

from chatkeep.domain.errors import RateLimited, Unavailable
from chatkeep.domain.ids import ChatId, OrganisationId, PrincipalId
from chatkeep.services import nodes
from chatkeep.services.context import Context, System
from chatkeep.store.driver import Place

Holder = tuple[OrganisationId, PrincipalId]
K = TypeVar("K")


class Streams:
    """All open streams and WebSockets of this process."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._by_organisation: Counter[OrganisationId] = Counter()
        self._by_holder: _Told[Holder] = _Told(self._put)
        self._in_chat: _Told[Place] = _Told(self._put_sockets)

    @property
    def count(self) -> int:
        """How many are open."""
        return self._by_organisation.total()

    @asynccontextmanager
    async def admitted(self, ctx: Context) -> AsyncIterator[None]:
        """One open stream of the caller's. Raises `RateLimited` when there are too many."""
        limits, holder = self._system.limits, (ctx.principal.organisation_id, ctx.principal.id)
        self._check_all()
        if (
            self._by_organisation[holder[0]] >= limits.streams_per_organisation_max
            or self._by_holder.count[holder] >= limits.streams_per_principal_max
        ):
            raise RateLimited(nodes.STREAMS_RETRY_S)
        is_shared = self._system.store.is_shared
        with self._counted(holder[0]), self._by_holder.one_more(holder, is_told=is_shared) as count:
            if is_shared:
                await nodes.count_stream(self._system, *holder, count)
            yield

    @asynccontextmanager
    async def talking(self, ctx: Context, chat_id: ChatId, *, most: int) -> AsyncIterator[None]:
        """One open WebSocket in a chat, of at most so many of the organisation's, whoever opens them. Raises
        `RateLimited`. While it is open, `chats.purge` can be told to refuse.
        """
        place = (ctx.principal.organisation_id, chat_id)
        self._check_all()
        with self._counted(place[0]), self._in_chat.one_more(place) as count:
            await nodes.count_socket(self._system, *place, count, most=most)
            yield

    async def tell(self) -> None:
        """Tell the store what it may not know yet."""
        await self._by_holder.tell()
        await self._in_chat.tell()

    def _check_all(self) -> None:
        if self.count >= self._system.limits.streams_max:
            raise RateLimited(nodes.STREAMS_RETRY_S)

    @contextmanager
    def _counted(self, organisation_id: OrganisationId) -> Iterator[None]:
        self._by_organisation[organisation_id] += 1
        try:
            yield
        finally:
            _drop(self._by_organisation, organisation_id)

    async def _put(self, holder: Holder, count: int) -> None:
        await nodes.put_streams(self._system, *holder, count)

    async def _put_sockets(self, place: Place, count: int) -> None:
        await nodes.put_sockets(self._system, *place, count)


class _Told(Generic[K]):
    """Counts by a key, of which the store is told by `put`."""

    def __init__(self, put: Callable[[K, int], Awaitable[None]]) -> None:
        self.count: Counter[K] = Counter()
        self._put = put
        self._untold: set[K] = set()
        self._telling: asyncio.Task[None] | None = None

    @contextmanager
    def one_more(self, key: K, *, is_told: bool = True) -> Iterator[int]:
        """How many there are with this one, which whoever asks tells; that it is over is told by itself."""
        self.count[key] += 1
        try:
            yield self.count[key]
        finally:
            _drop(self.count, key)
            if is_told:
                self._untold.add(key)
                if self._telling is None:
                    self._telling = asyncio.create_task(self.tell(), name="open streams")

    async def tell(self) -> None:
        """Tell what may not be known yet."""
        try:
            while self._untold:
                key = self._untold.pop()
                try:
                    await self._put(key, self.count[key])
                except Unavailable:
                    self._untold.add(key)
                    return
        finally:
            self._telling = None


def _drop(count: Counter[K], key: K) -> None:
    count[key] -= 1
    if not count[key]:
        del count[key]
