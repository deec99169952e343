"""Wakes whoever waits for events of a chat. What it brings is durable already; who missed some reads them in the store.

It hears the commits of its own process with their events (`Store.listen`). Of those of others it is told by the store
where that can (`Store.hear`), and in any case it asks every second how far the chats have got that somebody watches.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import inf
from time import monotonic
from typing import Protocol

from chatkeep.domain.errors import Unavailable
from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId, OrganisationId
from chatkeep.store.driver import Place

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
        self._told = 0
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

    def learn(self, seq: int) -> None:
        """The store has events up to `seq`, that somebody else has written: have those look who have not seen them."""
        self._told = max(self._told, seq)
        for waiter in self._waiting:
            if waiter.cursor < seq:
                waiter.wake()
        self._waiting = [waiter for waiter in self._waiting if not waiter.woken.done()]

    def after(self, seq: int) -> list[Event] | None:
        """All events after `seq`, none if there are none yet; None where only the store knows."""
        recent = self._recent
        if seq < self._told and not (recent and recent[0].seq <= seq + 1 and self._told <= recent[-1].seq):
            return None
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


Heads = Callable[[Sequence[Place]], Awaitable[Sequence[tuple[Place, int]]]]
"""Asks the store for the newest sequences of chats."""


class LocalBell:
    """The bell of one process: it rings with its commits, and every `look_s` looks whose time has come and, by `heads`,
    what others have committed.
    """

    def __init__(self, look_s: float = LOOK_S, heads: Heads | None = None) -> None:
        self._look_s = look_s
        self._heads = heads
        self._asking: asyncio.Task[None] | None = None
        self._channels: dict[Place, Channel] = {}
        self._timer: asyncio.TimerHandle | None = None

    def ring(self, events: Sequence[Event]) -> None:
        """A commit made these events durable."""
        for event in events:
            channel = self._channels.get((event.organisation_id, event.chat_id))
            if channel is not None:
                channel.add(event)

    def learn(self, news: Sequence[tuple[Place, int]]) -> None:
        """Others have committed events of these chats, up to these sequences."""
        for place, seq in news:
            channel = self._channels.get(place)
            if channel is not None:
                channel.learn(seq)

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
        if self._heads is not None and self._channels and self._asking is None:
            self._asking = asyncio.create_task(self._ask(self._heads), name="bell")
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._look_s, self._look_again) if self._channels else None

    async def _ask(self, heads: Heads) -> None:
        try:
            self.learn(await heads(list(self._channels)))
        except Unavailable:
            pass  # the next look asks again
        finally:
            self._asking = None
