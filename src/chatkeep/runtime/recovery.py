"""Gives signs of life, which keep this process its runs, and sees to runs of the dead and to those given back."""

from __future__ import annotations

import asyncio
from typing import Literal

import structlog

from chatkeep.domain.errors import ChatkeepError
from chatkeep.runtime.runner import Runner
from chatkeep.runtime.streams import Streams
from chatkeep.services import leases, nodes
from chatkeep.services.context import System
from chatkeep.store.runs import Unheld

log = structlog.get_logger(__name__)
Resume = Literal["handed-over", "always", "never"]


async def keep_alive(system: System, runner: Runner, streams: Streams) -> None:
    """Give signs of life until cancelled, and stop what somebody asked to stop by way of another process."""
    while True:
        try:
            asked = await nodes.beat(system, streams_count=streams.count, run_ids=runner.running)
            for _, run_id in asked:
                runner.stop(run_id)
            await streams.tell()
        except ChatkeepError as error:
            log.warning("no sign of life could be given", code=error.code)
        await asyncio.sleep(system.limits.lease_renewal_s)


async def answer_summons(system: System, runner: Runner, *, resume: Resume) -> None:
    """Look after runs as soon as another process asks for it, until cancelled: stop ours that are to stop, take over
    those given back. Without it the same is done, later, by `keep_alive` and the sweeper.
    """
    summoned = asyncio.Event()
    system.store.heed(summoned.set)
    while True:
        await summoned.wait()
        summoned.clear()
        try:
            for run_id in await leases.asked_to_stop(system) if runner.running else ():
                runner.stop(run_id)
            await recover(system, runner, resume=resume)
        except ChatkeepError as error:
            log.warning("a summons could not be answered", code=error.code)


async def recover(system: System, runner: Runner, *, resume: Resume, is_alone: bool = False) -> int:
    """See to all runs that nobody works on: go on with them (`resume`), or end them as interrupted. How many.

    `is_alone`: no other process can work on this store, so it need not be waited for a lease to run out.
    """
    count = 0
    while found := [
        each for each in await leases.unheld(system, is_alone=is_alone) if not runner.holds(each.run_id)
    ]:
        before = count
        for each in found:
            count += await _see_to(system, runner, each, resume)
        if count == before:
            break
    return count


async def _see_to(system: System, runner: Runner, each: Unheld, resume: Resume) -> bool:
    may_resume = resume == "always" or (resume == "handed-over" and each.is_handed_over)
    if may_resume and not each.is_to_stop and each.epoch < leases.EPOCHS_MAX:
        started = await leases.take_over(system, each.organisation_id, each.run_id)
        if started is not None:
            runner.begin(started)
            log.info("run resumed", run_id=each.run_id)
            return True
    ended = await leases.end_dead(system, each.organisation_id, each.run_id)
    if ended is not None:
        log.info("dead run ended", run_id=each.run_id)
    return ended is not None
