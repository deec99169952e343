"""Runs: one generation of one answer, held by whoever works on it under a lease."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chatkeep.domain.ids import ChatId, MessageId, ModelId, OrganisationId, PrincipalId, RunId
from chatkeep.domain.json import JsonObject
from chatkeep.domain.usage import Usage

RunState = Literal["running", "completed", "stopped", "failed"]
INTERRUPTED = "Stream interrupted (server stopped before the answer was complete)"


@dataclass(frozen=True, slots=True)
class Run:
    """A generation. Times in microseconds UTC.

    `answer_id` is the id its message has or will have, `principal_id` who asked, `wish` how the answer is wanted
    (empty once it is over), `request` the request with an Idempotency-Key that waits for its end. Its events begin at
    `first_seq` of the chat's journal. Every new holder gets a new `epoch`, and writes of an older one are refused.
    `usage` is what the provider counted and what that cost, in whatever way the run ended.
    """

    organisation_id: OrganisationId
    id: RunId
    chat_id: ChatId
    principal_id: PrincipalId
    question_id: MessageId
    answer_id: MessageId
    model_id: ModelId
    wish: JsonObject
    request: JsonObject | None
    state: RunState
    first_seq: int
    epoch: int
    holder: str | None
    lease_until: int
    stop_requested_at: int | None
    usage: Usage | None
    response_time_ms: int | None
    started_at: int
    ended_at: int | None
    error: str | None
