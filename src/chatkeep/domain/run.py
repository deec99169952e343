"""Runs: one generation of one answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chatkeep.domain.ids import ChatId, MessageId, ModelId, OrganisationId, RunId

RunState = Literal["running", "completed", "failed"]
INTERRUPTED = "Stream interrupted (server stopped before the answer was complete)"


@dataclass(frozen=True, slots=True)
class Run:
    """A generation. `answer_id` is the id its message has or will have. Times in microseconds UTC."""

    organisation_id: OrganisationId
    id: RunId
    chat_id: ChatId
    question_id: MessageId | None
    answer_id: MessageId
    model_id: ModelId
    state: RunState
    started_at: int
    ended_at: int | None
    error: str | None
