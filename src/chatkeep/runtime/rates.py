"""How often a tenant may ask in a minute, which begins with its first request.

A process of its own counts for itself. Where there are other nodes, each takes a few requests at a time from the
store's count for all of them: a node never admits what another one has taken, and one that dies keeps few.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from chatkeep.domain.errors import Unavailable
from chatkeep.domain.ids import OrganisationId
from chatkeep.domain.text import US
from chatkeep.services import nodes
from chatkeep.services.context import System

WINDOW_S = 60
AT_A_TIME = 20
"""What part of the limit a node takes at a time: a twentieth."""
KNOWN_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """Where a tenant stands: `resets_at` in microseconds UTC. `is_exceeded`: this request was one too many."""

    limit: int
    remaining: int
    resets_at: int
    is_exceeded: bool = False


@dataclass(slots=True)
class _Window:
    ends_at: int
    taken: int = 0
    """By all nodes, as far as this one knows."""
    left: int = 0
    """Of what this one has taken."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Rates:
    """The tenants' current windows, as this process knows them."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._windows: dict[OrganisationId, _Window] = {}

    async def spend(self, organisation_id: OrganisationId, limit: int) -> Rate:
        """One request. While the store cannot be asked, requests are admitted uncounted."""
        now = self._system.clock.now_us()
        window = self._windows.get(organisation_id)
        if window is None or window.ends_at <= now:
            window = self._begin(organisation_id, now)
        while not window.left and window.taken < limit:
            async with window.turn:  # what one took is for all who wait
                if not window.left:
                    await self._take(organisation_id, window, limit)
        is_exceeded = not window.left
        window.left -= not is_exceeded
        remaining = max(limit - window.taken, 0) + window.left
        return Rate(limit, remaining, window.ends_at, is_exceeded)

    def _begin(self, organisation_id: OrganisationId, now: int) -> _Window:
        if len(self._windows) >= KNOWN_MAX:
            self._windows = {key: each for key, each in self._windows.items() if each.ends_at > now}
        window = self._windows[organisation_id] = _Window(now + WINDOW_S * US)
        return window

    async def _take(self, organisation_id: OrganisationId, window: _Window, limit: int) -> None:
        if not self._system.store.is_shared:
            window.taken = window.left = limit
            return
        wanted = max(limit // AT_A_TIME, 1)
        try:
            began, taken = await nodes.take_requests(self._system, organisation_id, wanted, window_s=WINDOW_S)
        except Unavailable:
            window.left += 1
            return
        window.ends_at, window.taken = began + WINDOW_S * US, min(taken, limit)
        window.left += max(min(limit - (taken - wanted), wanted), 0)
