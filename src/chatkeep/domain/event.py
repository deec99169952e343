"""Events of a chat's journal: what changed, in one sequence a chat from 1 without gaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from chatkeep.domain.ids import ChatId, OrganisationId, RunId
from chatkeep.domain.json import JsonObject
from chatkeep.domain.message import Message

EventKind = Literal[
    "chat.created",
    "chat.updated",
    "chat.deleted",
    "chat.restored",
    "chat.titled",
    "message.created",
    "message.updated",
    "run.started",
    "run.resumed",
    "run.delta",
    "run.reasoning",
    "run.source",
    "run.tool_call",
    "run.completed",
    "run.stopped",
    "run.failed",
]
EVENT_KINDS: tuple[EventKind, ...] = get_args(EventKind)
ENDS = frozenset({"run.completed", "run.stopped", "run.failed"})
"""Of every run there is exactly one of these, and nothing of it comes after."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `seq` is also the version the chat has with it; `at` in microseconds UTC.

    `message` is the message it speaks of, with what it said at that moment; `text` the next piece of an answer; `chat`
    the fields of the chat that moved, as `Chat` names them; `data` whatever else belongs to its kind.
    """

    organisation_id: OrganisationId
    chat_id: ChatId
    seq: int
    at: int
    kind: EventKind
    run_id: RunId | None = None
    message: Message | None = None
    text: str | None = None
    chat: JsonObject | None = None
    data: JsonObject | None = None

    @property
    def ends_run(self) -> bool:
        """Whether its run is over with it."""
        return self.kind in ENDS
