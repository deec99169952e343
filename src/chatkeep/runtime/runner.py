"""Generates answers in the background, one task a run. A client that goes away never stops a run.

What is said so far is kept in memory until the answer is whole; the journal will make that durable.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import structlog

from chatkeep.domain.errors import (
    ChatkeepError,
    ProviderFailed,
    ShuttingDown,
    StoreBusy,
    StoreFull,
    Unavailable,
)
from chatkeep.domain.ids import ChatId, OrganisationId, RunId
from chatkeep.domain.run import INTERRUPTED
from chatkeep.domain.usage import Usage
from chatkeep.models.port import Finished, ReasoningDelta, TextDelta
from chatkeep.services import runs
from chatkeep.services.runs import Generated, Outcome, StartedRun

log = structlog.get_logger(__name__)
INTERNAL_ERROR = "The answer could not be generated because of an internal error"
TIMED_OUT = "The answer took longer than the server allows"
RETRY_S = 5.0


class LiveRun:
    """A run in this process: its pieces so far, and its outcome once it has one."""

    def __init__(self, started: StartedRun) -> None:
        self.started = started
        self._pieces: list[TextDelta | ReasoningDelta] = []
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._moved = asyncio.Event()

    async def pieces(self) -> AsyncIterator[TextDelta | ReasoningDelta]:
        """All pieces from the first one on, each as soon as it is there; ends with the run. Any number of readers."""
        position = 0
        while True:
            moved = self._moved
            while position < len(self._pieces):
                yield self._pieces[position]
                position += 1
            if self._outcome.done():
                return
            await moved.wait()

    async def outcome(self) -> Outcome:
        """How the run ended, once its end is durable. Cancelling the caller does not touch the run."""
        return await asyncio.shield(self._outcome)

    def add(self, piece: TextDelta | ReasoningDelta) -> None:
        """Append a piece and wake the readers."""
        self._pieces.append(piece)
        self._ring()

    def end(self, outcome: Outcome) -> None:
        """Tell the outcome and wake the readers, unless they were told something before."""
        if not self._outcome.done():
            self._outcome.set_result(outcome)
            self._ring()

    def fail(self, error: ChatkeepError) -> None:
        """The end could not be written: tell that, unless something was told before."""
        if not self._outcome.done():
            self._outcome.set_exception(error)
            self._outcome.exception()  # Nobody may be waiting; that is no reason for a warning.
            self._ring()

    @property
    def text(self) -> str:
        """What was said so far."""
        return "".join(piece.text for piece in self._pieces if isinstance(piece, TextDelta))

    def _ring(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


class Runner:
    """Owns the tasks of all runs of this process.

    `wall_s` bounds one answer; `retry_s` is the pause before an end is written again that a full store did not take.
    """

    def __init__(self, *, wall_s: float, retry_s: float = RETRY_S) -> None:
        self._wall_s = wall_s
        self._retry_s = retry_s
        self._tasks: dict[RunId, asyncio.Task[None]] = {}
        self._interruptible: set[RunId] = set()  # all but those whose end is being written
        self._live: dict[tuple[OrganisationId, ChatId], LiveRun] = {}
        self.begun_count = 0
        """How many runs were begun in all: moves with what `live_in` finds anew."""
        self._is_draining = False
        self._draining: asyncio.Task[None] | None = None

    def check_open(self) -> None:
        """Raise `ShuttingDown` when no new runs are taken."""
        if self._is_draining:
            raise ShuttingDown()

    def begin(self, started: StartedRun) -> LiveRun:
        """Work on a committed run from now on."""
        live = LiveRun(started)
        self.begun_count += 1
        run_id = started.run.id
        task = asyncio.create_task(self._work(live), name=f"run {run_id}")
        self._tasks[run_id] = task
        self._interruptible.add(run_id)
        task.add_done_callback(lambda _: self._tasks.pop(run_id, None))
        place = (started.run.organisation_id, started.run.chat_id)
        self._live[place] = live
        task.add_done_callback(lambda _: self._forget(place, live))
        return live

    def live_in(self, organisation_id: OrganisationId, chat_id: ChatId) -> LiveRun | None:
        """The run under way in this chat, if this process works on it; also for a moment after its end is durable."""
        return self._live.get((organisation_id, chat_id))

    @property
    def running_count(self) -> int:
        """How many runs are under way."""
        return len(self._tasks)

    def begin_drain(self, seconds: float) -> None:
        """`drain` without waiting for its end."""
        self._is_draining = True
        self._draining = asyncio.create_task(self.drain(seconds), name="runner drain")

    async def drain(self, seconds: float) -> None:
        """Take no new runs, let those under way finish for `seconds`, then end the rest as interrupted, text kept."""
        self._is_draining = True
        if not self._tasks:
            return
        await asyncio.wait(self._tasks.values(), timeout=seconds)
        for run_id in self._interruptible:
            self._tasks[run_id].cancel()
        self._interruptible.clear()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def _forget(self, place: tuple[OrganisationId, ChatId], live: LiveRun) -> None:
        self._interruptible.discard(live.started.run.id)
        live.fail(ProviderFailed(INTERNAL_ERROR))  # does nothing but where the task itself broke off
        if self._live.get(place) is live:  # The chat's next run may have begun already.
            del self._live[place]

    async def _work(self, live: LiveRun) -> None:
        started_at = time.monotonic()
        usage: Usage | None = None
        error: str | None = None
        try:
            async with asyncio.timeout(self._wall_s):
                usage = await _generate(live)
        except TimeoutError:
            error = TIMED_OUT
        except ProviderFailed as failure:
            error = str(failure)
        except asyncio.CancelledError:
            error = INTERRUPTED
        except Exception:  # the runner's outermost loop: a bug in one run must leave its chat in a true state
            log.exception("run failed", run_id=live.started.run.id)
            error = INTERNAL_ERROR
        took_ms = round((time.monotonic() - started_at) * 1000)
        generated = Generated(live.text, usage, took_ms, error)
        try:
            await self._end(live, generated)
        except Exception:  # and so must a bug in its end
            log.exception("run's end failed", run_id=live.started.run.id)
            await self._end(live, replace(generated, text="", usage=None, error=INTERNAL_ERROR))

    async def _end(self, live: LiveRun, generated: Generated) -> None:
        """Write the end and tell it. A full store's readers are told at once, and the text waits here for room."""
        run_id = live.started.run.id
        while True:
            self._interruptible.discard(run_id)
            try:
                return live.end(await runs.finish(live.started, generated))
            except Unavailable as failure:
                log.error("the end of a run could not be written", run_id=run_id, code=failure.code)
                live.fail(failure)
                if self._is_draining or not isinstance(failure, StoreBusy | StoreFull):
                    return None  # the next start settles what was running
            self._interruptible.add(run_id)
            await asyncio.sleep(self._retry_s)


async def _generate(live: LiveRun) -> Usage | None:
    usage: Usage | None = None
    asked = await runs.prompt(live.started)
    async with aclosing(live.started.route.provider.stream(asked)) as stream:  # type: ignore[type-var]  # a generator
        async for piece in stream:
            if isinstance(piece, Finished):
                usage = piece.usage
            else:
                live.add(piece)
    return usage
