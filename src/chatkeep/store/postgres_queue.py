"""What waits to be written to PostgreSQL, and what of it a lane takes next: whole chats, with which no other is busy.

So no two lanes wait for each other's rows, what is about one chat is done in its order, and no lane is idle while
another has a queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId, OrganisationId
from chatkeep.store.driver import Body

GROUP_MAX = 32


@dataclass(slots=True, eq=False)
class Job:
    """A body, and what came of it. `place` is what it is about: the chat, or nothing but itself."""

    organisation_id: OrganisationId | None
    about: ChatId | None
    body: Body[Any]
    future: asyncio.Future[Any]
    events: list[Event] = field(default_factory=list)
    result: Any = None
    error: BaseException | None = None

    @property
    def place(self) -> Hashable:
        """Jobs of the same place are done one after the other."""
        return self if self.about is None else (self.organisation_id, self.about)


class Queue:
    """Jobs for so many lanes."""

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self._ready: dict[Hashable, deque[Job]] = {}
        self._ready_count = 0
        self._taken: dict[Hashable, deque[Job]] = {}
        """Places that a lane is at, with what has come for them since."""
        self._idle: list[asyncio.Future[None]] = []
        self._is_closed = False
        self.waiting = 0

    def add(self, job: Job) -> None:
        """One more."""
        self.waiting += 1
        later = self._taken.get(job.place)
        if later is not None:
            later.append(job)
            return
        self._ready.setdefault(job.place, deque()).append(job)
        self._ready_count += 1
        self._wake()

    async def take(self) -> list[Job]:
        """A lane's share of what is ready, at least one place's; none once the queue is closed and empty. Give it back
        with `done`.
        """
        while not self._ready:
            if self._is_closed and not self._taken:
                return []
            waker = asyncio.get_running_loop().create_future()
            self._idle.append(waker)
            await waker
        share = min(GROUP_MAX, -(-self._ready_count // self._lanes))
        group: list[Job] = []
        while self._ready and len(group) < share:
            place = next(iter(self._ready))
            jobs = self._ready.pop(place)
            while jobs and len(group) < GROUP_MAX:
                group.append(jobs.popleft())
            self._taken[place] = jobs
            self._ready_count -= len(jobs)
        self._ready_count -= len(group)
        self.waiting -= len(group)
        self._wake()
        return group

    def done(self, group: list[Job]) -> None:
        """The lane is at something else: what has come for its places is ready."""
        for place in dict.fromkeys(job.place for job in group):
            jobs = self._taken.pop(place)
            if jobs:
                self._ready[place] = jobs
                self._ready_count += len(jobs)
        self._wake()

    def close(self) -> None:
        """Let lanes end that find nothing more."""
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        if self._ready or (self._is_closed and not self._taken):
            while self._idle:
                waker = self._idle.pop()
                if not waker.done():
                    waker.set_result(None)
                    if not self._is_closed:
                        return
