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


async def claim(
    tx: Transaction, name: RequestKey, fingerprint: bytes, *, now: int, not_before: int
) -> Remembered | None:
    """Be the first who sends this request since `not_before`: None. Else what is remembered of who was."""
    named = {"principal_id": name.principal_id, "route": name.route, "key": name.key}
    if await tx.run(
        "idempotency_claim", fingerprint=fingerprint, created_at=now, not_before=not_before, **named
    ):
        return None
    row = await tx.one("idempotency_get", **named)
    assert row is not None
    seen, status, body, headers = row
    return Remembered(seen, status, body, read_json(headers))


async def note(
    tx: Transaction,
    name: RequestKey,
    answer: tuple[int, bytes] | None,
    headers: Mapping[str, str],
    *,
    chat_id: ChatId | None,
) -> None:
    """Remember the answer to a claimed request, if there is one yet. The chat it is about takes it along."""
    status, body = answer or (None, None)
    await tx.run(
        "idempotency_note",
        principal_id=name.principal_id,
        route=name.route,
        key=name.key,
        chat_id=chat_id,
        status=status,
        body=body,
        headers=write_json(dict(headers)),
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
