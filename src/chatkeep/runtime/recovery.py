"""Keeps the leases of this process's runs, and sees to runs whose process is dead or gave them back."""

from __future__ import annotations

import asyncio
from typing import Literal

import structlog

from chatkeep.domain.errors import ChatkeepError
from chatkeep.runtime.runner import Runner
from chatkeep.services import leases
from chatkeep.services.context import System
from chatkeep.store.runs import Unheld

log = structlog.get_logger(__name__)
Resume = Literal["handed-over", "always", "never"]


async def keep_leases(system: System, runner: Runner) -> None:
    """Renew until cancelled, and stop what somebody asked to stop by way of another process."""
    while True:
        await asyncio.sleep(system.limits.lease_renewal_s)
        if not runner.running_count:
            continue
        try:
            for _, run_id in await leases.renew(system):
                runner.stop(run_id)
        except ChatkeepError as error:
            log.warning("leases were not renewed", code=error.code)


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
