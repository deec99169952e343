"""Tidies up: deletes for good what has expired or was deleted long ago, folds the journal, forgets old requests.

Every sweep is small transactions, one batch each: it may stop anywhere, and the next one goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

import structlog

from chatkeep.domain.errors import ChatkeepError
from chatkeep.domain.text import US
from chatkeep.runtime.recovery import Resume, recover
from chatkeep.runtime.runner import Runner
from chatkeep.services import nodes as node_verbs
from chatkeep.services import throttle
from chatkeep.services.context import System
from chatkeep.store import chats, events, idempotency, nodes, sign_ins
from chatkeep.store.driver import Transaction

log = structlog.get_logger(__name__)
BATCH = 100
EVERYTHING = 2**31
NODES_KEPT_LEASES = 20
"""A node that was not heard of for so many lease times is forgotten."""
PAUSE_S = 0.005
"""Between two batches: whoever writes for a client goes first."""

Batch = Callable[[Transaction, int], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did, or would do."""

    expired_chats: int
    deleted_chats: int
    folded_runs: int
    forgotten_requests: int
    forgotten_sign_ins: int = 0
    forgotten_nodes: int = 0


async def sweep(system: System, *, is_dry_run: bool = False) -> Swept:
    """Everything that is due by now; a dry run counts it and leaves it."""
    every = _every if not is_dry_run else _only_counted
    now, policy = system.clock.now_us(), system.policy

    async def expire(tx: Transaction, limit: int) -> int:
        return await chats.purge_expired(tx, now=now, limit=limit)

    async def purge(tx: Transaction, limit: int) -> int:
        if policy.purge_deleted_after_s is None:
            return 0
        before = now - int(policy.purge_deleted_after_s * US)
        return await chats.purge_deleted(tx, before=before, limit=limit)

    async def fold(tx: Transaction, limit: int) -> int:
        return await events.fold(tx, before=now - int(policy.fold_after_s * US), limit=limit)

    async def forget(tx: Transaction, limit: int) -> int:
        return await idempotency.forget(tx, not_before=now - system.limits.idempotency_memory_s * US)

    async def forget_sign_ins(tx: Transaction, limit: int) -> int:
        return await sign_ins.forget(tx, before=now - throttle.WINDOW_S * US)

    async def forget_nodes(tx: Transaction, limit: int) -> int:
        before = now - int(NODES_KEPT_LEASES * system.limits.lease_s * US)
        return await nodes.forget(tx, before=before, me=system.node)

    bodies = (expire, purge, fold, forget, forget_sign_ins, forget_nodes)
    return Swept(*[await every(system, body) for body in bodies])


async def sweep_for_ever(system: System, runner: Runner, *, interval_s: float, resume: Resume) -> None:
    """Sweep every `interval_s` seconds until cancelled, one node for all, and see to runs of dead processes.

    Trouble with the store is logged and tried again.
    """
    while True:
        try:
            if not system.store.is_shared or await node_verbs.has_duty(system, "sweep", for_s=3 * interval_s):
                swept = await sweep(system)
                if any(asdict(swept).values()):
                    log.info("swept", **asdict(swept))
            await recover(system, runner, resume=resume)
        except ChatkeepError as error:
            log.warning("sweep failed", code=error.code)
        await asyncio.sleep(interval_s)


async def _every(system: System, batch: Batch) -> int:
    async def body(tx: Transaction) -> int:
        return await batch(tx, BATCH)

    total = 0
    while (count := await system.store.write(None, body)) >= BATCH:
        total += count
        await asyncio.sleep(PAUSE_S)
    return total + count


class _Undone(Exception):
    pass


async def _only_counted(system: System, batch: Batch) -> int:
    count = 0

    async def body(tx: Transaction) -> None:
        nonlocal count
        count = await batch(tx, EVERYTHING)
        raise _Undone  # so it is not done

    try:
        await system.store.write(None, body)
    except _Undone:
        pass
    return count
