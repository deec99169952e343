"""The shapes of asking for answers, and of runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from typing_extensions import TypedDict

from chatkeep.dialects.native.wire import Id, MessageOut, Strict, UsageOut


class AnswerIn(Strict):
    """How an answer is wanted."""

    model_id: Id | None = Field(None, description="Another model than the chat's; it becomes the chat's.")
    max_tokens: int | None = Field(None, ge=1, le=200_000)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    stream: bool = Field(False, description="Server-sent events instead of one answer at the end.")


class GenerateIn(AnswerIn):
    """What to answer: append `message` first if given, then ask the model."""

    message: str | None = Field(
        None, min_length=1, description="The user's message; without it the current path is answered."
    )
    if_busy: Literal["reject", "queue", "branch"] = Field(
        "reject",
        description="While another answer is generated: refuse, wait for its end, or branch off beside its question.",
    )


class AgainIn(AnswerIn):
    """Which answer to give again, or to go on with."""

    message_id: Id | None = Field(None, description="An answer of the chat; the current one when absent.")


class EditIn(AnswerIn):
    """What is said instead."""

    content: str = Field(min_length=1, description="The text, at most 100,000 bytes.")


class StopIn(Strict):
    """What to stop."""

    run_id: Id | None = Field(None, description="One run; all of the chat when absent.")


class GenerateOut(TypedDict):
    """An answer."""

    run_id: str
    chat_id: str
    question_id: str | None
    message: MessageOut | None
    usage: UsageOut | None
    error: str | None


class RunOut(TypedDict):
    """A run: one generation of one answer."""

    id: str
    chat_id: str
    question_id: str
    answer_id: str
    model_id: str
    principal_id: str
    state: Literal["running", "completed", "stopped", "failed"]
    first_seq: int
    epoch: int
    stop_requested_at: str | None
    usage: UsageOut | None
    response_time_ms: int | None
    started_at: str
    ended_at: str | None
    error: str | None


class RunPage(TypedDict):
    """A page of runs."""

    items: list[RunOut]
    next_cursor: str | None
    has_more: bool


class RunList(TypedDict):
    """Runs."""

    items: list[RunOut]
