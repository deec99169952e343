"""Deletes for good what has expired: ephemeral chats past their time, remembered requests past their memory."""

from __future__ import annotations

import asyncio

import structlog

from chatkeep.domain.errors import ChatkeepError
from chatkeep.domain.text import US
from chatkeep.services.context import System
from chatkeep.store import chats, idempotency
from chatkeep.store.driver import Transaction

log = structlog.get_logger(__name__)
BATCH = 100


async def sweep(system: System) -> int:
    """Delete everything that has expired by now, in small transactions; how many chats that was."""
    now = system.clock.now_us()
    deleted = 0

    async def batch(tx: Transaction) -> int:
        return await chats.purge_expired(tx, now=now, limit=BATCH)

    async def forget(tx: Transaction) -> int:
        return await idempotency.forget(tx, not_before=now - system.limits.idempotency_memory_s * US)

    while count := await system.store.write(None, batch):
        deleted += count
    await system.store.write(None, forget)
    return deleted


async def sweep_for_ever(system: System, *, interval_s: float) -> None:
    """Sweep every `interval_s` seconds until cancelled. Trouble with the store is logged and tried again."""
    while True:
        try:
            deleted = await sweep(system)
            if deleted:
                log.info("swept", chats_deleted=deleted)
        except ChatkeepError as error:
            log.warning("sweep failed", code=error.code)
        await asyncio.sleep(interval_s)
