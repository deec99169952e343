"""Open WebUI's shapes (0.12.4). Times are seconds since the epoch, but `chat.timestamp` is milliseconds.

Of a chat's body and its messages only the keys that chatkeep writes are named; all others come back as they were sent.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

JsonMap = dict[str, Any]
Role = Literal["user", "assistant", "system", "tool"]


class Lenient(BaseModel):
    """A request body: fields that the vendor does not have are ignored, as the vendor does."""

    model_config = ConfigDict(strict=True)


class SignUpIn(Lenient):
    """An account to make."""

    name: str
    email: str = Field(json_schema_extra={"format": "email"})
    password: str = Field(description="8 characters to 1,024 bytes.", json_schema_extra={"minLength": 8})
    profile_image_url: str | None = None


class SignInIn(Lenient):
    """Who signs in."""

    email: str
    password: str


class NewChatIn(Lenient):
    """A chat to store. `chat` is the whole of it, messages included."""

    chat: JsonMap = Field(
        description="`title`, `models`, `params`, `history{messages, currentId}` and whatever else."
    )
    folder_id: str | None = None
    variables: JsonMap | None = None


class SessionOut(TypedDict):
    """A signed-in person and the token."""

    id: str
    name: str
    role: Literal["admin", "user"]
    email: str
    profile_image_url: str
    token: str
    token_type: Literal["Bearer"]
    expires_at: int
    permissions: dict[str, dict[str, bool]]


class SessionInfoOut(SessionOut):
    """The session as GET tells it. chatkeep keeps no status lines of people: they are null."""

    status_emoji: str | None
    status_message: str | None
    status_expires_at: int | None


class SignedOut(TypedDict):
    """The answer to signing out."""

    status: Literal[True]


class UserOut(TypedDict):
    """Who wrote a message."""

    id: str
    name: str


class ErrorOfMessage(TypedDict):
    """Why an answer broke off."""

    content: str


class UsageOut(TypedDict):
    """Tokens, under both pairs of names."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    input_tokens: int
    output_tokens: int


class FileOut(TypedDict):
    """A picture or another file that came with a message."""

    type: Literal["image", "file"]
    url: str


class MessageOut(TypedDict):
    """A node of the tree. Keys that a client stored with it come back beside these."""

    id: str
    parentId: NotRequired[str | None]
    childrenIds: NotRequired[list[str]]
    role: Role
    content: str
    timestamp: NotRequired[int]
    models: NotRequired[list[str]]
    model: NotRequired[str]
    modelName: NotRequired[str]
    modelIdx: NotRequired[int]
    done: NotRequired[bool]
    error: NotRequired[ErrorOfMessage]
    usage: NotRequired[UsageOut]
    files: NotRequired[list[FileOut]]
    output: NotRequired[list[JsonMap]]
    user_id: str
    user: NotRequired[UserOut]


class HistoryOut(TypedDict):
    """The tree of messages, and the tip of the branch that is shown."""

    messages: dict[str, MessageOut]
    currentId: str | None


class ChatBodyOut(TypedDict, total=False):
    """What a client stored as `chat`, with what has changed since."""

    id: str
    title: str
    models: list[str]
    params: JsonMap
    history: HistoryOut
    timestamp: int
    share_mode: Literal["continue"] | None


class ChatOut(TypedDict):
    """A chat. `tasks`, `summary` and `context_usage` tell of features that chatkeep does not have: they are null."""

    id: str
    user_id: str
    title: str
    chat: ChatBodyOut
    updated_at: int
    created_at: int
    share_id: str | None
    archived: bool
    pinned: bool
    meta: JsonMap
    variables: JsonMap
    folder_id: str | None
    tasks: list[JsonMap] | None
    summary: str | None
    current_message_id: str | None
    context_usage: JsonMap | None


class Fault(TypedDict):
    """One thing that is wrong in a request."""

    type: str
    loc: list[str | int]
    msg: str


class ErrorOut(TypedDict):
    """An error: a sentence, or the list of a failed validation."""

    detail: str | list[Fault]
