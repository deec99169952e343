"""One message of a chat. Messages form a tree by `parent_id`; children are computed, never stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from chatkeep.domain.ids import AgentId, ChatId, MessageId, ModelId, PrincipalId
from chatkeep.domain.json import JsonObject, JsonValue

MessageRole = Literal["user", "assistant", "system", "tool"]
MessageStatus = Literal["generating", "complete", "incomplete", "error"]
MESSAGE_ROLES: tuple[MessageRole, ...] = get_args(MessageRole)
SPEAKING_ROLES = frozenset({"user", "assistant"})


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message.

    `seq` orders all messages of the chat from 1; `turn_number` counts the user and assistant messages on the path from
    the root up to and including this one. Token counts, `cost` (decimal text) and `response_time_ms` are of the model
    call that made it, `tool_calls` in OpenAI's form, `sources` the pages that it names: `url`, `title` and `text` each.
    `extra` keeps, per dialect, the wire fields chatkeep does not know. Times in microseconds UTC.
    """

    chat_id: ChatId
    id: MessageId
    seq: int
    parent_id: MessageId | None
    role: MessageRole
    content: str
    turn_number: int
    created_at: int
    status: MessageStatus = "complete"
    error: str | None = None
    author_id: PrincipalId | None = None
    agent_id: AgentId | None = None
    state_id: str | None = None
    model_id: ModelId | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: str | None = None
    response_time_ms: int | None = None
    tool_call_id: str | None = None
    tool_calls: list[JsonValue] | None = None
    media_type: str | None = None
    media_url: str | None = None
    sources: list[JsonValue] | None = None
    metadata: JsonObject | None = None
    extra: JsonObject = field(default_factory=dict)

    @property
    def token_count(self) -> int | None:
        """Tokens of the text itself where the provider counted them: the answer's, for an assistant message."""
        return self.output_tokens


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be appended. Without `id` one is made; without `parent_id` it follows the chat's current message.

    `is_root` makes a new root instead. `created_at` is for imports; None means now.
    """

    role: MessageRole
    content: str
    id: MessageId | None = None
    parent_id: MessageId | None = None
    is_root: bool = False
    status: MessageStatus = "complete"
    error: str | None = None
    author_id: PrincipalId | None = None
    agent_id: AgentId | None = None
    state_id: str | None = None
    model_id: ModelId | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: str | None = None
    response_time_ms: int | None = None
    tool_call_id: str | None = None
    tool_calls: list[JsonValue] | None = None
    media_type: str | None = None
    media_url: str | None = None
    metadata: JsonObject | None = None
    extra: JsonObject = field(default_factory=dict)
    created_at: int | None = None


def calls_in(message: Message) -> list[JsonObject]:
    """The calls of an assistant's message as a model takes them back; none where one is not in OpenAI's form."""
    calls: list[Any] = message.tool_calls or []
    return calls if message.role == "assistant" and all(map(_is_call, calls)) else []


def path_to(messages: list[Message], tip: MessageId | None) -> list[Message]:
    """The messages from the root to `tip`, oldest first; empty when there is no tip. Each is in it but once, also where
    damaged rows name each other as parents.
    """
    if tip is not None and messages and messages[-1].id == tip and _is_line(messages):
        return messages
    by_id = {message.id: message for message in messages}
    path: list[Message] = []
    at = by_id.pop(tip, None) if tip is not None else None
    while at is not None:
        path.append(at)
        at = by_id.pop(at.parent_id, None) if at.parent_id is not None else None
    path.reverse()
    return path


def children_of(messages: list[Message]) -> dict[MessageId, list[MessageId]]:
    """For each message its children's ids in the order they were written."""
    children: dict[MessageId, list[MessageId]] = {message.id: [] for message in messages}
    for message in messages:
        if message.parent_id is not None:
            children[message.parent_id].append(message.id)
    return children


def _is_call(call: Any) -> bool:
    if not isinstance(call, dict) or not isinstance(call.get("id"), str):
        return False
    function = call.get("function")
    return isinstance(function, dict) and all(
        isinstance(function.get(name), str) for name in ("name", "arguments")
    )


def _is_line(messages: list[Message]) -> bool:
    before: MessageId | None = None
    for message in messages:
        if message.parent_id != before:
            return False
        before = message.id
    return True
