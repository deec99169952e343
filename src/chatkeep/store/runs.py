"""Rows of runs: their leases, their ends, and the chat's status that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatkeep.domain.ids import ChatId, OrganisationId, RunId
from chatkeep.domain.run import Run, RunState
from chatkeep.domain.usage import Usage
from chatkeep.store.driver import Row, Transaction
from chatkeep.store.rows import read_json, write_json

NEWEST = "\x7f"


async def insert(tx: Transaction, run: Run, *, reserved_tokens: int) -> None:
    """Write a running run."""
    await tx.run(
        "run_insert",
        id=run.id,
        chat_id=run.chat_id,
        principal_id=run.principal_id,
        question_id=run.question_id,
        answer_id=run.answer_id,
        model_id=run.model_id,
        wish=write_json(run.wish),
        request=write_json(run.request),
        first_seq=run.first_seq,
        holder=run.holder,
        lease_until=run.lease_until,
        reserved_tokens=reserved_tokens,
        started_at=run.started_at,
    )


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended; `last_seq` is that of its last event."""

    state: RunState
    last_seq: int
    error: str | None = None
    usage: Usage | None = None
    response_time_ms: int | None = None


async def end(tx: Transaction, run: Run, ending: Ending, *, now: int) -> bool:
    """End a running run under its epoch; False when it is over already or another holds it now."""
    usage = ending.usage
    row = await tx.one(
        "run_end",
        id=run.id,
        epoch=run.epoch,
        state=ending.state,
        ended_at=now,
        last_seq=ending.last_seq,
        error=ending.error,
        input_tokens=None if usage is None else usage.input_tokens,
        output_tokens=None if usage is None else usage.output_tokens,
        cost=None if usage is None else usage.cost,
        response_time_ms=ending.response_time_ms,
    )
    return row is not None


async def is_held(tx: Transaction, run: Run) -> bool:
    """Whether the run is still to be worked on under this epoch: not over, not taken by another, not to be stopped."""
    row = await tx.one("run_holds", id=run.id, epoch=run.epoch)
    return row is not None and bool(row[0])


async def get(tx: Transaction, run_id: RunId) -> Run | None:
    """One run."""
    row = await tx.one("run_get", id=run_id)
    return None if row is None else _run(row)


async def of_chat(tx: Transaction, chat_id: ChatId, *, before_id: str, limit: int) -> list[Run]:
    """Up to `limit` runs of the chat before `before_id`, newest first."""
    rows = await tx.all("runs_of_chat", chat_id=chat_id, before_id=before_id, row_limit=limit)
    return [_run(row) for row in rows]


async def running_in(tx: Transaction, chat_id: ChatId) -> list[Run]:
    """The chat's running runs, oldest first."""
    return [_run(row) for row in await tx.all("runs_running_in", chat_id=chat_id)]


async def running_count(tx: Transaction) -> tuple[int, int]:
    """How many runs of the organisation are running, and how many tokens are set aside for them."""
    row = await tx.one("runs_running_count")
    assert row is not None
    return int(row[0]), int(row[1])


async def ask_to_stop(tx: Transaction, chat_id: ChatId, run_id: RunId | None, *, now: int) -> int:
    """Ask for the end of one running run of the chat, or of all; how many had not been asked before."""
    return await tx.run("run_ask_to_stop", chat_id=chat_id, run_id=run_id, now=now)


async def take(tx: Transaction, run: Run, holder: str, *, lease_until: int) -> int | None:
    """Hold the run from now on: the new epoch, or None when somebody else was quicker."""
    row = await tx.one("run_take", id=run.id, epoch=run.epoch, holder=holder, lease_until=lease_until)
    return None if row is None else int(row[0])


async def renew(tx: Transaction, holder: str, run_ids: Sequence[RunId], *, lease_until: int) -> int:
    """Prolong a holder's leases of these runs (system work); how many."""
    return await tx.run("system_runs_renew", holder=holder, ids=write_json(run_ids), lease_until=lease_until)


async def release(tx: Transaction, run: Run, *, now: int) -> bool:
    """Give a run back unfinished; False when it is not ours any more."""
    return await tx.run("run_release", now=now, id=run.id, epoch=run.epoch) == 1


@dataclass(frozen=True, slots=True)
class Unheld:
    """A run that nobody works on. `is_handed_over`: its last holder gave it back; else it died. `is_to_stop`: somebody
    has asked for its end.
    """

    organisation_id: OrganisationId
    run_id: RunId
    epoch: int
    is_handed_over: bool
    is_to_stop: bool


async def unheld(tx: Transaction, *, now: int, only_me: str | None, limit: int) -> list[Unheld]:
    """Runs that nobody works on (system work). `only_me`: the one holder that can be alive, where there is but one."""
    rows = await tx.all("system_runs_unheld", now=now, only_me=only_me, row_limit=limit)
    return [Unheld(row[0], row[1], row[2], row[3] is None, row[4] is not None) for row in rows]


async def asked_to_stop(tx: Transaction, holder: str) -> list[tuple[OrganisationId, RunId]]:
    """Runs of this holder that somebody wants stopped (system work)."""
    return [(row[0], row[1]) for row in await tx.all("system_runs_asked_to_stop", holder=holder)]


async def budget(tx: Transaction) -> tuple[int, int]:
    """Since when the organisation's tokens are counted, and how many there were."""
    row = await tx.one("budget_get")
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


async def begin_budget(tx: Transaction, *, now: int) -> None:
    """Count the organisation's tokens from nothing."""
    await tx.run("budget_put", started_at=now, tokens=0)


async def spend(tx: Transaction, tokens: int, *, now: int) -> None:
    """Count tokens against the organisation's budget."""
    if tokens:
        await tx.run("budget_add", now=now, tokens=tokens)


def _run(row: Row) -> Run:
    usage = None if row[15] is None else Usage(*row[15:18])
    decoded = (read_json(row[7]), read_json(row[8]), *row[9:15], usage, *row[18:])
    return Run(*(*row[:7], *decoded))
