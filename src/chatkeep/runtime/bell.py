"""Wakes whoever waits for events of a chat. What it brings is durable already; who missed some reads them in the store.

This bell hears the commits of its own process (`Store.listen`). Where several processes write to one store, theirs are
found by looking again (`tail`), or told by the engine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import inf
from time import monotonic
from typing import Protocol

from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId, OrganisationId

RECENT_MAX = 64
LOOK_S = 1.0


Offer = Callable[[Event], bool]
"""Brings a reader its next event without waking anybody, if that is possible now."""


class _Waiter:
    __slots__ = ("cursor", "offer", "until_s", "woken")

    def __init__(self, cursor: int, offer: Offer | None, until_s: float) -> None:
        self.cursor = cursor
        self.offer = offer
        self.until_s = until_s
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def takes(self, event: Event) -> bool:
        if self.offer is None or self.woken.done() or event.seq != self.cursor + 1 or not self.offer(event):
            return False
        self.cursor = event.seq
        return True

    def wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


class Channel:
    """The latest events of one chat that somebody watches, in order and without gaps."""

    def __init__(self) -> None:
        self.watchers = 0
        self._recent: deque[Event] = deque(maxlen=RECENT_MAX)
        self._waiting: list[_Waiter] = []

    def add(self, event: Event) -> None:
        """Keep an event; bring it to everybody who waits, or wake them."""
        if self._recent and event.seq != self._recent[-1].seq + 1:
            self._recent.clear()
        self._recent.append(event)
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if waiter.takes(event):
                self._waiting.append(waiter)
            else:
                waiter.wake()

    def after(self, seq: int) -> list[Event] | None:
        """All events after `seq`, none if there are none yet; None where only the store knows."""
        recent = self._recent
        if not recent:
            return []
        if recent[-1].seq <= seq:
            return []
        first = seq + 1 - recent[0].seq
        if first < 0:
            return None
        return [recent[index] for index in range(first, len(recent))]

    async def wait(self, cursor: int = 0, offer: Offer | None = None, until_s: float = inf) -> int:
        """Return with the next event, soon after `until_s` (of `time.monotonic`), or when everybody is to look.

        With `offer`, events that follow `cursor` go there first, and only one that is not taken ends the waiting.
        Returns the last event that was taken, else `cursor`.
        """
        waiter = _Waiter(cursor, offer, until_s)
        self._waiting.append(waiter)
        await waiter.woken
        return waiter.cursor

    def wake(self) -> None:
        """Have everybody look."""
        self.wake_due(inf)

    def wake_due(self, now_s: float) -> None:
        """Have those look whose time has come."""
        for waiter in self._waiting:
            if waiter.until_s <= now_s:
                waiter.wake()
        self._waiting = [waiter for waiter in self._waiting if not waiter.woken.done()]


class Bell(Protocol):
    """What `tail` needs of a bell; an engine that tells other processes' commits has one of its own."""

    def watch(self, organisation_id: OrganisationId, chat_id: ChatId) -> AbstractContextManager[Channel]:
        """The chat's channel, for as long as the context lasts."""
        ...

    def wake_all(self) -> None:
        """Have everybody look: something about all of them has changed."""
        ...


class LocalBell:
    """The bell of one process: it rings with its commits, and looks every `look_s` whose time has come."""

    def __init__(self, look_s: float = LOOK_S) -> None:
        self._look_s = look_s
        self._channels: dict[tuple[OrganisationId, ChatId], Channel] = {}
        self._timer: asyncio.TimerHandle | None = None

    def ring(self, events: Sequence[Event]) -> None:
        """A commit made these events durable."""
        for event in events:
            channel = self._channels.get((event.organisation_id, event.chat_id))
            if channel is not None:
                channel.add(event)

    def wake_all(self) -> None:
        """Have everybody look."""
        for channel in self._channels.values():
            channel.wake()

    def watch(self, organisation_id: OrganisationId, chat_id: ChatId) -> AbstractContextManager[Channel]:
        """The chat's channel, for as long as the context lasts."""
        return self._watch(organisation_id, chat_id)

    @contextmanager
    def _watch(self, organisation_id: OrganisationId, chat_id: ChatId) -> Iterator[Channel]:
        place = (organisation_id, chat_id)
        channel = self._channels.get(place)
        if channel is None:
            channel = self._channels[place] = Channel()
        if self._timer is None:
            self._look_again()
        channel.watchers += 1
        try:
            yield channel
        finally:
            channel.watchers -= 1
            if channel.watchers == 0 and self._channels.get(place) is channel:
                del self._channels[place]

    def _look_again(self) -> None:
        # One timer for all who wait: one of its own for each would cost more than what it waits for.
        now_s = monotonic()
        for channel in self._channels.values():
            channel.wake_due(now_s)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._look_s, self._look_again) if self._channels else None
