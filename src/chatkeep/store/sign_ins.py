"""Rows of failed sign-ins: when, by digest of a name or an address (system work)."""

from __future__ import annotations

from typing import Literal

from chatkeep.store.driver import Transaction
from chatkeep.store.rows import read_json, write_json

Kind = Literal["name", "address"]


async def take(tx: Transaction, kind: Kind, subject: bytes, *, now: int) -> list[int]:
    """The times that count, oldest first; held until the transaction ends."""
    row = await tx.one("system_sign_ins_take", kind=kind, subject=subject, now=now)
    assert row is not None
    times: list[int] = read_json(row[0])
    return times


async def put(tx: Transaction, kind: Kind, subject: bytes, times: list[int]) -> None:
    """Write the times that count from now on."""
    await tx.run("system_sign_ins_put", kind=kind, subject=subject, times=write_json(times))


async def forget(tx: Transaction, *, before: int) -> int:
    """Forget whoever has not tried since then; how many."""
    return await tx.run("system_sign_ins_forget", before=before)
