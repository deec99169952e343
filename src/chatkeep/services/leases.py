"""Who works on a run: giving runs back, taking them over, and settling those that nobody works on any more.

A lease that ran out proves that its holder is dead or as good as dead. Taking its run gives it a new epoch, so whatever
the old holder may still write is refused.
"""

from __future__ import annotations

from dataclasses import replace

from chatkeep.domain.chat import ChatAccess
from chatkeep.domain.errors import NoModel
from chatkeep.domain.ids import ChatId, OrganisationId, RunId
from chatkeep.domain.run import INTERRUPTED, Run
from chatkeep.domain.text import US
from chatkeep.models.port import Source
from chatkeep.services import generating, models
from chatkeep.services.context import Context, System
from chatkeep.services.generating import Generated, Outcome, Said, StartedRun
from chatkeep.services.wishes import remembered
from chatkeep.store import chats, events, messages, runs
from chatkeep.store.driver import Transaction
from chatkeep.store.events import Told
from chatkeep.store.runs import Unheld

BATCH = 100
EPOCHS_MAX = 5
"""A run that five processes could not end is not tried again."""


async def release(system: System, run: Run, rest: tuple[Said, ...], sources: tuple[Source, ...] = ()) -> bool:
    """Give a run back unfinished, `rest` being what it said last and `sources` what it named: whoever looks next may go
    on with it.

    False when it is not ours any more, or is to stop.
    """

    async def body(tx: Transaction) -> bool:
        if not await runs.is_held(tx, run):
            return False
        answer = await messages.get(tx, run.chat_id, run.answer_id)
        if answer is not None:
            named = generating.sources_of(run, answer, sources)
            if rest:
                await generating.say(tx, run, rest, now=system.clock.now_us())
            await generating.tell(tx, run, named, now=system.clock.now_us())
            if named:
                await messages.add_sources(tx, answer, [told.data for told in named])
        return await runs.release(tx, run, now=system.clock.now_us())

    return await system.store.write(run.organisation_id, body, about=run.chat_id)


async def is_to_stop(system: System, run: Run) -> bool:
    """Whether somebody has asked for the run's end."""

    async def body(tx: Transaction) -> Run | None:
        return await runs.get(tx, run.id)

    found = await system.store.peek(run.organisation_id, body)
    return found is not None and found.epoch == run.epoch and found.stop_requested_at is not None


async def asked_to_stop(system: System) -> list[RunId]:
    """Those of this process's runs that somebody wants stopped."""

    async def body(tx: Transaction) -> list[tuple[OrganisationId, RunId]]:
        return await runs.asked_to_stop(tx, system.node)

    return [run_id for _, run_id in await system.store.peek(None, body)]


async def unheld(system: System, *, is_alone: bool) -> list[Unheld]:
    """Runs that nobody works on. `is_alone`: nobody else can work on this store, so whatever is not ours is dead."""

    async def body(tx: Transaction) -> list[Unheld]:
        only_me = system.node if is_alone else None
        return await runs.unheld(tx, now=system.clock.now_us(), only_me=only_me, limit=BATCH)

    return await system.store.read(None, body)


async def end_dead(system: System, organisation_id: OrganisationId, run_id: RunId) -> Outcome | None:
    """End a run whose holder is dead: what it had said is kept, its chat is in `error` with text and time. If somebody
    had asked for its end, it is stopped, and no error.

    None when it is over, or its holder is alive after all.
    """

    async def body(tx: Transaction) -> Outcome | None:
        taken = await _take(tx, system, run_id)
        if taken is None:
            return None
        is_to_stop = taken.stop_requested_at is not None
        ended = Generated(
            state="stopped" if is_to_stop else "failed",
            rest=(),
            usage=None,
            response_time_ms=(taken.lease_until - taken.started_at) // 1000,
            error=None if is_to_stop else INTERRUPTED,
        )
        return await generating.finish_in(tx, await _started(tx, system, taken), ended)

    return await system.store.write(organisation_id, body)


async def take_over(system: System, organisation_id: OrganisationId, run_id: RunId) -> StartedRun | None:
    """Hold a run from now on, to go on where its last holder stopped. None when there is nothing to go on with."""

    async def body(tx: Transaction) -> StartedRun | None:
        taken = await _take(tx, system, run_id)
        if taken is None:
            return None
        started = await _started(tx, system, taken)
        seq = await chats.advance(tx, taken.chat_id, 1)
        await events.append(
            tx,
            taken.chat_id,
            seq,
            system.clock.now_us(),
            Told("run.resumed", run_id=taken.id, data={"epoch": taken.epoch}),
        )
        _, route = await models.route(tx, system, taken.model_id)
        return replace(started, route=route)

    try:
        return await system.store.write(organisation_id, body)
    except NoModel:
        return None


async def settle_before(ctx: Context, chat_id: ChatId) -> None:
    """Before a chat is read: see to it that it does not say `generating` when nobody generates."""
    organisation_id = ctx.principal.organisation_id

    async def body(tx: Transaction) -> ChatAccess | None:
        return await chats.access(tx, chat_id)

    found = await ctx.peek(body)
    if found is not None and found.status == "generating":
        await settle_chat(ctx.system, organisation_id, chat_id)


async def settle_chat(system: System, organisation_id: OrganisationId, chat_id: ChatId) -> bool:
    """Before a chat that says `generating` is read: whether that was a dead process's word, which is ended now.

    A run that was handed over is nobody's death: it waits for who goes on with it.
    """

    async def body(tx: Transaction) -> list[Run]:
        return await runs.running_in(tx, chat_id)

    now = system.clock.now_us()
    running = await system.store.peek(organisation_id, body)
    dead = [run for run in running if run.holder is not None and run.lease_until <= now]
    ended = [await end_dead(system, organisation_id, run.id) for run in dead]
    return any(outcome is not None for outcome in ended)


async def _take(tx: Transaction, system: System, run_id: RunId) -> Run | None:
    named = await runs.get(tx, run_id)
    if named is None or await chats.access(tx, named.chat_id) is None:
        return None
    run = await runs.get(tx, run_id)  # again, now that nobody else writes in its chat
    if run is None or run.state != "running":
        return None
    # Another one may have taken it just now, and is at work; but where there is one server, all others are dead.
    may_live = run.holder == system.node or system.store.is_shared
    if run.holder is not None and may_live and run.lease_until > system.clock.now_us():
        return None
    epoch = await runs.take(tx, run, system.node, lease_until=_lease(system))
    return None if epoch is None else replace(run, epoch=epoch, holder=system.node)


async def _started(tx: Transaction, system: System, run: Run) -> StartedRun:
    chat = await chats.get(tx, run.chat_id)
    assert chat is not None
    is_begun = await messages.turn_number(tx, run.chat_id, run.answer_id) is not None
    return StartedRun(
        system=system, run=run, route=None, wish=remembered(run.wish), chat=chat, is_begun=is_begun
    )


def _lease(system: System) -> int:
    return system.clock.now_us() + int(system.limits.lease_s * US)
