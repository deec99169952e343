"""The shapes of a chat's events. `seq` is the cursor to come back with, and the chat's version with this event."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from chatkeep.dialects.native.wire import ChatOut, MessageOut, SourceOut, UsageOut
from chatkeep.dialects.native.wire_runs import RunOut


class TitleOut(TypedDict):
    """The title."""

    title: str


class ToolCallTold(TypedDict):
    """A call: which function, with which arguments (text that the model says is JSON)."""

    id: str
    name: str
    arguments: str


class ChatEvent(TypedDict):
    """The chat itself changed: `chat` has the fields that moved, all of them when it was created."""

    seq: int
    type: Literal["chat.created", "chat.updated", "chat.deleted", "chat.restored"]
    at: str
    chat: dict[str, Any]


class ChatTitled(TypedDict):
    """The chat's model has made a title for it, in place of the one from its first message."""

    seq: int
    type: Literal["chat.titled"]
    at: str
    chat: TitleOut


class MessageEvent(TypedDict):
    """A message was written, or (`message.updated`) an answer grows again: put it in place by its id."""

    seq: int
    type: Literal["message.created", "message.updated"]
    at: str
    run_id: str | None
    message: MessageOut
    chat: NotRequired[dict[str, Any]]


class RunStarted(TypedDict):
    """An answer is being generated. `answer_id` is the id its message has or will have."""

    seq: int
    type: Literal["run.started"]
    at: str
    run_id: str
    question_id: str
    answer_id: str
    model_id: str
    chat: dict[str, Any]


class RunResumed(TypedDict):
    """Another process goes on with the answer where the last one stopped."""

    seq: int
    type: Literal["run.resumed"]
    at: str
    run_id: str
    epoch: int


class RunDelta(TypedDict):
    """The next piece: of the answer's text, or of what the model thinks before it answers."""

    seq: int
    type: Literal["run.delta", "run.reasoning"]
    at: str
    run_id: str
    text: str


class RunSource(TypedDict):
    """The answer names a web page as its source: put it behind the others in the `sources` of its message."""

    seq: int
    type: Literal["run.source"]
    at: str
    run_id: str
    source: SourceOut


class RunToolCall(TypedDict):
    """The answer ends with this call of a tool, which is in the `tool_calls` of its message too, in OpenAI's form.

    It is the client's to make; its result goes back with `tool_results`.
    """

    seq: int
    type: Literal["run.tool_call"]
    at: str
    run_id: str
    tool_call: ToolCallTold


class RunEnded(TypedDict):
    """The answer is whole, was stopped, or broke off: exactly one a run, and its last event.

    `message` is the answer with its whole text; null when the run failed before the first word.
    """

    seq: int
    type: Literal["run.completed", "run.stopped", "run.failed"]
    at: str
    run_id: str
    message: MessageOut | None
    usage: UsageOut | None
    response_time_ms: int
    error: str | None
    chat: dict[str, Any]


class SnapshotOut(TypedDict):
    """The chat as it is, for a reader whose cursor knows nothing of it; what comes after `seq` follows.

    `messages` are the newest ones in the order they were written, an unfinished answer with all it has said so far;
    `runs` are those under way: `answer_id` tells which message their pieces belong to.
    """

    seq: int
    type: Literal["snapshot"]
    chat: ChatOut
    messages: list[MessageOut]
    has_more: bool
    runs: list[RunOut]


class Reconnect(TypedDict):
    """The stream ends here, politely: come back with `after`."""

    type: Literal["reconnect"]
    after: int


class StreamError(TypedDict):
    """The stream ends here, and the same credential will not bring it back."""

    type: Literal["error"]
    code: str
    detail: str


EventOut = (
    ChatEvent
    | ChatTitled
    | MessageEvent
    | RunStarted
    | RunResumed
    | RunDelta
    | RunSource
    | RunToolCall
    | RunEnded
    | SnapshotOut
)
StreamOut = EventOut | Reconnect | StreamError
"""The data of one server-sent event."""


class EventPage(TypedDict):
    """Events after the cursor, in order; `after` is the cursor for the next call."""

    items: list[EventOut]
    after: int
