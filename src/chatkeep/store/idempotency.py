"""Rows of remembered requests."""

from __future__ import annotations

from dataclasses import dataclass

from chatkeep.domain.ids import PrincipalId
from chatkeep.store.driver import Transaction

LOST = 0
"""In place of a status: the answer was lost with the process that generated it."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A request seen before. `status` None: not answered yet; `LOST` instead of a real one."""

    fingerprint: bytes
    status: int | None
    body: bytes | None


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What names a request: who sent it, to which route, under which key."""

    principal_id: PrincipalId
    route: str
    key: str


async def get(tx: Transaction, name: RequestKey, *, not_before: int) -> Remembered | None:
    """What is remembered of this request, if it is not older than `not_before`."""
    row = await tx.one(
        "idempotency_get",
        principal_id=name.principal_id,
        route=name.route,
        key=name.key,
        not_before=not_before,
    )
    return None if row is None else Remembered(*row)


async def put(tx: Transaction, name: RequestKey, remembered: Remembered, *, now: int) -> None:
    """Remember the request and, where there is one already, its answer."""
    await tx.run(
        "idempotency_put",
        principal_id=name.principal_id,
        route=name.route,
        key=name.key,
        fingerprint=remembered.fingerprint,
        status=remembered.status,
        body=remembered.body,
        created_at=now,
    )


async def answer(tx: Transaction, name: RequestKey, status: int, body: bytes) -> None:
    """Add the answer to a remembered request."""
    await tx.run(
        "idempotency_answer",
        principal_id=name.principal_id,
        route=name.route,
        key=name.key,
        status=status,
        body=body,
    )


async def forget(tx: Transaction, *, not_before: int) -> int:
    """Forget requests older than `not_before` (system work); how many."""
    return await tx.run("system_idempotency_forget", not_before=not_before)
