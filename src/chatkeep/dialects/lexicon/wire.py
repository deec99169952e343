"""Lexicon's shapes, as its pages and its openapi.json print them. Times are ISO 8601 UTC text."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

JsonMap = dict[str, Any]
Role = Literal["user", "assistant"]
FrameKind = Literal[
    "connection_established",
    "user_created",
    "message_received",
    "message_stream_started",
    "message_stream_token",
    "message_stream_ended",
    "error",
]


class ConfigIn(BaseModel):
    """What GET prints, for clients that send it back; keys besides `metadata` are kept as they are."""

    model_config = ConfigDict(extra="allow", strict=True)

    metadata: JsonMap | None = None


class ChatIn(BaseModel):
    """A chat to create. Fields that the vendor does not document are ignored."""

    model_config = ConfigDict(strict=True)

    user_id: str = Field(description="Your own id of the user, at most 200 characters.", pattern=r"\S")
    title: str | None = Field(
        None, description="At most 500 characters; made from the first message when absent."
    )
    metadata: JsonMap | None = Field(None, description="Yours; comes back as `config.metadata`.")
    config: ConfigIn | None = Field(
        None, description="As GET prints it; `metadata` wins over `config.metadata`."
    )


class ConfigOut(TypedDict):
    """`metadata` and, where the client sent some, other keys."""

    metadata: JsonMap


class ChatOut(TypedDict):
    """A chat."""

    id: str
    user_id: str
    tenant_id: str
    title: str
    config: ConfigOut
    created_at: str
    updated_at: str
    last_message_at: str | None
    message_count: int
    status: Literal["active", "closed"]


class MessageOut(TypedDict):
    """A message. `metadata` of an answer says the `model` and, where they were counted, the `tokens_used`."""

    id: str
    content: str
    sender_role: Role
    media_type: str | None
    media_url: str | None
    created_at: str
    metadata: JsonMap


class Place(TypedDict):
    """Where a stretch of a list is, and how long the whole list."""

    total: int
    offset: int
    limit: int
    has_more: bool


class ChatPage(Place):
    """A stretch of a user's chats."""

    chats: list[ChatOut]


class MessagePage(Place):
    """A stretch of a chat's messages."""

    messages: list[MessageOut]


class Deleted(TypedDict):
    """What DELETE answers."""

    success: Literal[True]
    message: str
    deleted_at: str


class SaidIn(BaseModel):
    """The one frame that a client sends over the WebSocket. Other fields are ignored."""

    model_config = ConfigDict(strict=True)

    content: str = Field(min_length=1)
    metadata: JsonMap | None = None


Frame: TypeAlias = JsonMap
"""A frame to a client: `event_type`, `timestamp` and the fields of its kind, see docs/dialects/lexicon.md."""


class Error(TypedDict):
    """Every error; `error` is the HTTP status."""

    error: int
    message: str
