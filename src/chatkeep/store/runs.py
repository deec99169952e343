"""Rows of runs, and the chat's status that follows from them."""

from __future__ import annotations

from chatkeep.domain.chat import ChatStatus
from chatkeep.domain.ids import ChatId, ModelId
from chatkeep.domain.run import Run, RunState
from chatkeep.store.driver import Transaction


async def insert(tx: Transaction, run: Run) -> None:
    """Write a running run and mark its chat as generating. Raises `Conflict` when the chat has a running one."""
    await tx.run(
        "run_insert",
        id=run.id,
        chat_id=run.chat_id,
        question_id=run.question_id,
        answer_id=run.answer_id,
        model_id=run.model_id,
        started_at=run.started_at,
    )
    await _status(tx, run.chat_id, "generating", None, now=run.started_at, model_id=run.model_id)


async def end(tx: Transaction, run: Run, state: RunState, error: str | None, *, now: int) -> bool:
    """End a running run: the chat is idle again, or in error with text and time. Whether it was still running."""
    if not await tx.run("run_end", id=run.id, state=state, ended_at=now, error=error):
        return False
    await _status(tx, run.chat_id, None if error is None else "error", error, now=now, model_id=None)
    return True


async def running_count(tx: Transaction) -> int:
    """How many runs of the organisation are running."""
    row = await tx.one("runs_running_count")
    assert row is not None
    return int(row[0])


async def interrupt_all(tx: Transaction, error: str, *, now: int) -> int:
    """At start-up: what was running before is not any more (system work). How many runs that was."""
    await tx.run("system_runs_interrupt_chats", error=error, now=now)
    return await tx.run("system_runs_interrupt", error=error, now=now)


async def _status(
    tx: Transaction,
    chat_id: ChatId,
    status: ChatStatus | None,
    error: str | None,
    *,
    now: int,
    model_id: ModelId | None,
) -> None:
    await tx.run(
        "chat_set_status",
        id=chat_id,
        status=status,
        last_error=error,
        last_error_at=None if error is None else now,
        model_id=model_id,
        updated_at=now,
    )
