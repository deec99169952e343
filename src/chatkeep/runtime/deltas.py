"""Makes what the models say durable: the next pieces of all running answers in one transaction a tick.

Nothing is shown before it is in the journal. A tick costs one commit however many answers there are, and a page of the
log for each of them: so where a tick takes long, the next one waits longer, and brings more words at the same cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from chatkeep.domain.errors import LeaseLost, StoreBusy, StoreFull, StoreLost, Unavailable
from chatkeep.domain.event import EventKind
from chatkeep.domain.ids import ChatId, OrganisationId
from chatkeep.domain.run import Run
from chatkeep.services import generating
from chatkeep.services.context import System
from chatkeep.services.generating import Said, StartedRun
from chatkeep.store import events
from chatkeep.store.driver import Transaction
from chatkeep.store.events import Delta

log = structlog.get_logger(__name__)
TICK_S = 0.04
TICK_SHARE = 2.0
TICK_MAX_S = 0.25
"""A tick lasts this many times as long as its writing took, within these bounds."""
TICK_ANSWERS_MAX = 128
"""Of more answers, those that wait longest: none waits for the writing of a thousand."""
RETRY_S = 1.0


class Growing:
    """The pieces of one answer that are not durable yet. `is_begun`: it is a message of its chat already."""

    def __init__(self, started: StartedRun) -> None:
        self.started = started
        self.is_begun = started.is_begun
        self._unsaid: list[tuple[EventKind, list[str]]] = []
        self._is_cut = False

    def __bool__(self) -> bool:
        """Whether there is anything to be written."""
        return bool(self._unsaid)

    def add(self, kind: EventKind, text: str) -> None:
        """Put a piece behind the others; those of one kind become one."""
        unsaid = self._unsaid
        if self._is_cut:
            return
        if unsaid and unsaid[-1][0] == kind:
            unsaid[-1][1].append(text)
        else:
            unsaid.append((kind, [text]))

    def take(self) -> Said:
        """The next piece."""
        kind, texts = self._unsaid.pop(0)
        return Said(kind, "".join(texts))

    def cut(self) -> None:
        """Nobody knows whether the last piece was written: the answer ends with what is durable, without a gap."""
        self._is_cut = True
        self._unsaid.clear()

    def put_back(self, said: Said) -> None:
        """It was not written after all."""
        self._unsaid.insert(0, (said.kind, [said.text]))


Pieces = dict[Growing, Said]


class DeltaWriter:
    """Writes for all runs of this process. `on_refused` hears of runs whose pieces count no more."""

    def __init__(self, system: System, on_refused: Callable[[Run], None], *, tick_s: float = TICK_S) -> None:
        self._system = system
        self._on_refused = on_refused
        self._tick_s = tick_s
        self._due: dict[Growing, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._writing: Pieces = {}
        self._written = asyncio.Event()

    def add(self, growing: Growing, kind: EventKind, text: str) -> None:
        """Have the next piece written with the next tick."""
        growing.add(kind, text)
        if not growing:
            return
        self._due[growing] = None
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="delta writer")

    async def settle(self, growing: Growing) -> tuple[Said, ...]:
        """Write nothing more of this answer; returns what is not durable, for whoever writes its end."""
        self._due.pop(growing, None)
        while growing in self._writing:
            await self._written.wait()
            self._due.pop(growing, None)  # back again, if the store did not take it
        rest = []
        while growing:
            rest.append(growing.take())
        return tuple(rest)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._due:
                began = loop.time()
                try:
                    await self._tick()
                    took_s = loop.time() - began
                    pause_s = max(self._tick_s, min(TICK_SHARE * took_s, TICK_MAX_S))
                except Unavailable as trouble:
                    pause_s = RETRY_S
                    if not isinstance(trouble, StoreBusy | StoreFull):
                        log.error("answers cannot be written", code=trouble.code)
                await asyncio.sleep(max(began + pause_s - loop.time(), 0.001))
        finally:
            self._task = None

    async def _tick(self) -> None:
        """Raises `Unavailable` when the store did not take everything; what it did not take is due again."""
        writing = self._writing = self._taken()
        grown = {each: said for each, said in writing.items() if each.is_begun or said.kind != "run.delta"}
        writes = [self._trouble_of(self._grow, grown)] if grown else []
        for each, said in writing.items():
            if each not in grown:
                writes.append(self._trouble_of(self._begin, {each: said}))
        try:
            troubles = await asyncio.gather(*writes)
        finally:
            self._writing = {}
            written, self._written = self._written, asyncio.Event()
            written.set()
        for trouble in troubles:
            if trouble is not None:
                raise trouble

    async def _trouble_of(
        self, write: Callable[[Pieces], Awaitable[list[Growing]]], pieces: Pieces
    ) -> Unavailable | None:
        try:
            refused = await write(pieces)
        except StoreLost as trouble:
            for growing in pieces:  # they may be written or not: again, and they might be there twice
                growing.cut()
                self._due.pop(growing, None)
                self._on_refused(growing.started.run)
            return trouble
        except Unavailable as trouble:
            for growing, said in pieces.items():
                growing.put_back(said)
                self._due[growing] = None
            return trouble
        for growing in refused:
            growing.put_back(pieces[growing])  # a stopped run's end brings it, before what was said since
            self._due.pop(growing, None)
            self._on_refused(growing.started.run)
        return None

    async def _grow(self, pieces: Pieces) -> list[Growing]:
        deltas = [Delta(growing.started.run, said.kind, said.text) for growing, said in pieces.items()]
        now = self._system.clock.now_us()

        async def body(tx: Transaction) -> set[int]:
            return await events.append_deltas(tx, deltas, now=now)

        refused = await self._system.store.write(None, body)
        return [growing for number, growing in enumerate(pieces) if number in refused]

    async def _begin(self, pieces: Pieces) -> list[Growing]:
        ((growing, said),) = pieces.items()
        try:
            await generating.begin_answer(growing.started, said.text)
        except LeaseLost:
            return [growing]
        growing.is_begun = True
        return []

    def _taken(self) -> Pieces:
        """The next piece of each answer, of at most one answer a chat; what is left is due again."""
        taken: Pieces = {}
        places: set[tuple[OrganisationId, ChatId]] = set()
        for growing in list(self._due):
            place = (growing.started.run.organisation_id, growing.started.run.chat_id)
            if place in places:
                continue
            if len(taken) == TICK_ANSWERS_MAX:
                break
            places.add(place)
            taken[growing] = growing.take()
            if not growing:
                del self._due[growing]
        return taken
