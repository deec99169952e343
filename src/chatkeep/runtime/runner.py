"""Generates answers in the background, one task a run. A client that goes away never stops a run.

What is said goes into the journal by `deltas`; whoever wants to read it follows the journal (`tail`).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Literal

import structlog

from chatkeep.domain.errors import (
    ChatkeepError,
    LeaseLost,
    ProviderFailed,
    ShuttingDown,
    StoreBusy,
    StoreFull,
    Unavailable,
)
from chatkeep.domain.event import EventKind
from chatkeep.domain.ids import RunId
from chatkeep.domain.run import INTERRUPTED, Run, RunState
from chatkeep.domain.usage import Usage
from chatkeep.models.port import Counted, Finished, Source, TextDelta, ToolCall
from chatkeep.runtime.deltas import DeltaWriter, Growing
from chatkeep.runtime.titles import Titles
from chatkeep.services import generating, leases, prompting
from chatkeep.services.context import System
from chatkeep.services.generating import Generated, Outcome, Said, StartedRun

log = structlog.get_logger(__name__)
INTERNAL_ERROR = "The answer could not be generated because of an internal error"
TIMED_OUT = "The answer took longer than the server allows"
RETRY_S = 5.0
Ending = Literal["stop", "hand over", "lost"]


class LiveRun:
    """A run that this process works on, and its outcome once it has one."""

    def __init__(self, started: StartedRun) -> None:
        self.started = started
        self.growing = Growing(started)
        self.is_under_way = False
        self.ending: Ending | None = None
        self.usage: Usage | None = None
        self.calls: list[ToolCall] = []
        self.sources: dict[str, Source] = {}  # by address, each with the most that was told of it
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    @property
    def run(self) -> Run:
        """The run as it was started."""
        return self.started.run

    async def outcome(self) -> Outcome:
        """How the run ended, once its end is durable. Cancelling the caller does not touch the run.

        Raises what kept its end from being written, and `ShuttingDown` when another process is to go on with it.
        """
        return await asyncio.shield(self._outcome)

    @property
    def told(self) -> asyncio.Future[Outcome]:
        """Done with the outcome, or with the error for which there is none here."""
        return self._outcome

    @property
    def failure(self) -> ChatkeepError | None:
        """Why there is no outcome here, if that is known."""
        error = self._outcome.exception() if self._outcome.done() else None
        return error if isinstance(error, ChatkeepError) else None

    def end(self, outcome: Outcome) -> None:
        """Tell the outcome, unless something was told before."""
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    def fail(self, error: ChatkeepError) -> None:
        """There will be no outcome here: tell why, unless something was told before."""
        if not self._outcome.done():
            self._outcome.set_exception(error)
            self._outcome.exception()  # Nobody may be waiting; that is no reason for a warning.


class Runner:
    """Owns the tasks of all runs of this process.

    `wall_s` bounds one answer; `retry_s` is the pause before an end is written again that a full store did not take.
    Without `titles` no model is asked for one.
    """

    def __init__(
        self, system: System, *, wall_s: float, retry_s: float = RETRY_S, titles: Titles | None = None
    ) -> None:
        self._system = system
        self._titles = titles
        self._wall_s = wall_s
        self._retry_s = retry_s
        self._deltas = DeltaWriter(system, lambda run: self._interrupt(run.id, "lost"))
        self._tasks: dict[RunId, asyncio.Task[None]] = {}
        self._live: dict[RunId, LiveRun] = {}  # all but those whose end is being written
        self._is_draining = False
        self._draining: asyncio.Task[None] | None = None

    def check_open(self) -> None:
        """Raise `ShuttingDown` when no new runs are taken."""
        if self._is_draining:
            raise ShuttingDown()

    def begin(self, started: StartedRun) -> LiveRun:
        """Work on a committed run from now on."""
        live = LiveRun(started)
        run_id = started.run.id
        task = asyncio.create_task(self._work(live), name=f"run {run_id}")
        self._tasks[run_id] = task
        self._live[run_id] = live
        task.add_done_callback(lambda _: self._forget(live))
        return live

    def holds(self, run_id: RunId) -> bool:
        """Whether this process works on the run."""
        return run_id in self._tasks

    def stop(self, run_id: RunId) -> None:
        """End a run that somebody asked to stop; what it has said is kept. Where it is not ours, its holder is told."""
        if self.holds(run_id):
            self._interrupt(run_id, "stop")
        else:
            self._system.store.summon()

    @property
    def running(self) -> tuple[RunId, ...]:
        """The runs that are under way."""
        return tuple(self._tasks)

    @property
    def running_count(self) -> int:
        """How many they are."""
        return len(self._tasks)

    def begin_drain(self, seconds: float) -> None:
        """`drain` without waiting for its end."""
        self._is_draining = True
        self._draining = asyncio.create_task(self.drain(seconds), name="runner drain")

    async def drain(self, seconds: float) -> None:
        """Take no new runs, let those under way finish for `seconds`, then hand over the rest, all they said kept."""
        self._is_draining = True
        if self._titles is not None:
            await self._titles.close()
        if not self._tasks:
            return
        await asyncio.wait(self._tasks.values(), timeout=seconds)
        for run_id in list(self._live):
            self._interrupt(run_id, "hand over")
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def _interrupt(self, run_id: RunId, why: Ending) -> None:
        live = self._live.pop(run_id, None)
        if live is not None:
            live.ending = why
            if live.is_under_way:  # a task that is cancelled before its first step would never write its end
                self._tasks[run_id].cancel()

    def _forget(self, live: LiveRun) -> None:
        self._tasks.pop(live.run.id, None)
        self._live.pop(live.run.id, None)
        live.fail(ProviderFailed(INTERNAL_ERROR))  # does nothing but where the task itself broke off

    async def _work(self, live: LiveRun) -> None:
        started_at = time.monotonic()
        state: RunState = "completed"
        error: str | None = None
        try:
            live.is_under_way = True
            if live.ending is None:
                async with asyncio.timeout(self._wall_s):
                    await self._generate(live)
        except TimeoutError:
            state, error = "failed", TIMED_OUT
        except ProviderFailed as failure:
            state, error = "failed", str(failure)
        except LeaseLost:
            live.ending = "lost"
        except Unavailable as trouble:
            log.warning("the store went away under a run", run_id=live.run.id, code=trouble.code)
            state, error = "failed", INTERRUPTED
        except asyncio.CancelledError:
            if live.ending is None:  # the loop is being closed under it
                raise
        except Exception:  # the runner's outermost loop: a bug in one run must leave its chat in a true state
            log.exception("run failed", run_id=live.run.id)
            state, error = "failed", INTERNAL_ERROR
        self._live.pop(live.run.id, None)
        rest = await self._deltas.settle(live.growing)
        if live.ending == "hand over" and await self._hand_over(live, rest):
            return
        if live.ending is not None:
            is_stopped = live.ending == "stop" or await leases.is_to_stop(self._system, live.run)
            state, error = ("stopped", None) if is_stopped else ("failed", INTERRUPTED)
        took_ms = round((time.monotonic() - started_at) * 1000)
        route, sources = live.started.route, tuple(live.sources.values())
        usage = None if route is None else route.priced(live.usage)
        generated = Generated(state, rest, usage, took_ms, error, tuple(live.calls), sources)
        try:
            await self._end(live, generated)
        except Exception:  # and so must a bug in its end
            log.exception("run's end failed", run_id=live.run.id)
            await self._end(live, Generated("failed", rest, usage, took_ms, INTERNAL_ERROR))

    async def _generate(self, live: LiveRun) -> None:
        started = live.started
        asked = await prompting.prompt(started)
        assert started.route is not None
        async with aclosing(started.route.provider.stream(asked)) as stream:  # type: ignore[type-var]  # a generator
            async for piece in stream:
                if isinstance(piece, Counted | Finished):
                    live.usage = piece.usage
                elif isinstance(piece, ToolCall):
                    live.calls.append(piece)
                elif isinstance(piece, Source):
                    live.sources[piece.url] = piece
                else:
                    kind: EventKind = "run.delta" if isinstance(piece, TextDelta) else "run.reasoning"
                    self._deltas.add(live.growing, kind, piece.text)

    async def _hand_over(self, live: LiveRun, rest: tuple[Said, ...]) -> bool:
        """Give the run back for another process to go on with; where that fails it ends here, as interrupted."""
        try:
            if await leases.release(self._system, live.run, rest, tuple(live.sources.values())):
                self._system.store.summon()
                live.fail(ShuttingDown())
                return True
        except Unavailable as failure:
            log.error("a run could not be handed over", run_id=live.run.id, code=failure.code)
            live.fail(failure)
            return True
        return False

    async def _end(self, live: LiveRun, generated: Generated) -> None:
        """Write the end and tell it. A full store's readers are told at once, and the text waits here for room."""
        run_id = live.run.id
        while True:
            try:
                outcome = await generating.finish(live.started, generated)
                if (
                    self._titles is not None
                    and generated.state == "completed"
                    and outcome.message is not None
                ):
                    self._titles.begin(live.started, outcome.message.content)
                return live.end(outcome)
            except LeaseLost:
                return live.fail(ProviderFailed(INTERRUPTED))
            except Unavailable as failure:
                log.error("the end of a run could not be written", run_id=run_id, code=failure.code)
                live.fail(failure)
                if self._is_draining or not isinstance(failure, StoreBusy | StoreFull):
                    return None  # the next start settles what was running
            await asyncio.sleep(self._retry_s)
