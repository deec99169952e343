"""Keeps the one writer busy, so that what is written meanwhile shares the next commit."""

from __future__ import annotations

import asyncio
import threading

from chatkeep.store.driver import Transaction
from chatkeep.store.sqlite import SqliteStore
from tests.contract.store.place import ACME, count_agents


class Gate:
    """A body that keeps the writer busy until it is let go."""

    def __init__(self) -> None:
        self.is_entered = threading.Event()
        self.may_go = threading.Event()

    async def body(self, tx: Transaction) -> None:
        await count_agents(tx)
        self.is_entered.set()
        assert self.may_go.wait(10)


async def behind(store: SqliteStore, gate: Gate) -> asyncio.Task[None]:
    """The gate's write, once the writer is in it."""
    task = asyncio.create_task(store.write(ACME, gate.body))
    await asyncio.to_thread(gate.is_entered.wait, 10)
    return task
