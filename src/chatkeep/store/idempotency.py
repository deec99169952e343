"""Rows of remembered requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chatkeep.domain.ids import ChatId, PrincipalId
from chatkeep.store.driver import Transaction
from chatkeep.store.rows import read_json, write_json

LOST = 0
"""In place of a status: the answer was lost with the process that generated it."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A request seen before. `status` None: not answered yet; `LOST`: it never will be.

    `headers` are those of the answer that tell of its object, known from the beginning.
    """

    fingerprint: bytes
    status: int | None
    body: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)


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
    if row is None:
        return None
    fingerprint, status, body, headers = row
    return Remembered(fingerprint, status, body, read_json(headers))


async def put(
    tx: Transaction, name: RequestKey, remembered: Remembered, *, chat_id: ChatId | None, now: int
) -> None:
    """Remember the request and, where there is one, its answer; the chat it is about takes it along when it goes."""
    await tx.run(
        "idempotency_put",
        principal_id=name.principal_id,
        route=name.route,
        key=name.key,
        chat_id=chat_id,
        fingerprint=remembered.fingerprint,
        status=remembered.status,
        body=remembered.body,
        headers=write_json(dict(remembered.headers)),
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
