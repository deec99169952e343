"""Bounds failed sign-ins by name and by address over a sliding window, for all nodes of the store together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from chatkeep.domain.errors import RateLimited, WrongPassword
from chatkeep.domain.text import US
from chatkeep.store import sign_ins
from chatkeep.store.driver import Transaction
from chatkeep.store.sign_ins import Kind

if TYPE_CHECKING:
    from chatkeep.services.context import System

PER_NAME, PER_ADDRESS = 5, 20
WINDOW_S = 1800
_BOUNDS: tuple[tuple[Kind, int], ...] = (("name", PER_NAME), ("address", PER_ADDRESS))


@asynccontextmanager
async def attempt(system: System, name: str, address: str) -> AsyncIterator[None]:
    """One attempt. Raises `RateLimited` when either has failed too often lately.

    It counts from its beginning, so that attempts made at once do not slip through together, and is taken back unless
    it ends in `WrongPassword`.
    """
    subjects = [system.keyring.digest(said) for said in (name, address)]
    began = system.clock.now_us()

    async def begin(tx: Transaction) -> None:
        for (kind, bound), subject in zip(_BOUNDS, subjects, strict=True):
            times = [
                each
                for each in await sign_ins.take(tx, kind, subject, now=began)
                if each > began - WINDOW_S * US
            ]
            if len(times) >= bound:
                raise RateLimited(-(-(times[0] + WINDOW_S * US - began) // US))
            await sign_ins.put(tx, kind, subject, [*times, began])

    async def take_back(tx: Transaction) -> None:
        for (kind, _), subject in zip(_BOUNDS, subjects, strict=True):
            times = await sign_ins.take(tx, kind, subject, now=began)
            if began in times:
                times.remove(began)
            await sign_ins.put(tx, kind, subject, times)

    await system.store.write(None, begin)
    try:
        yield
    except WrongPassword:
        raise
    except BaseException:
        await system.store.write(None, take_back)
        raise
    else:
        await system.store.write(None, take_back)
