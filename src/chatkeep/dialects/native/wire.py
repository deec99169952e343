"""The native dialect's shapes. Times are ISO 8601 UTC text, sizes bytes, durations seconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from typing_extensions import TypedDict

from chatkeep.domain.money import PRICE_PATTERN

Id = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9._:@/+=-]{1,128}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\S")]
Price = Annotated[str, StringConstraints(pattern=PRICE_PATTERN)]
JsonMap = dict[str, Any]
Role = Literal["user", "assistant", "system", "tool"]
Visibility = Literal["private", "organization", "shared"]
SessionState = Literal["ongoing", "completed", "cancelled"]


class Strict(BaseModel):
    """A request body: unknown fields are errors, so that a typing mistake is never silently dropped."""

    model_config = ConfigDict(extra="forbid", strict=True)


class FunctionCall(Strict):
    """The function that an assistant called; `arguments` is JSON as text."""

    name: str = Field(min_length=1, max_length=200)
    arguments: str


class ToolCall(Strict):
    """A call that an assistant made, in OpenAI's form."""

    id: str = Field(min_length=1, max_length=200)
    type: Literal["function"] = "function"
    function: FunctionCall


class MessageIn(Strict):
    """A message to append."""

    role: Role = Field(description="Who speaks.")
    content: str = Field(description="The text, at most 100,000 bytes.")
    id: Id | None = Field(None, description="Your own id, unique in the chat; made when absent.")
    parent_id: Id | None = Field(
        None, description="The message it follows; the chat's current message when absent."
    )
    tool_call_id: str | None = Field(None, description="For tool messages: the call it answers.")
    tool_calls: list[ToolCall] | None = Field(
        None, max_length=128, description="For assistant messages: the calls made."
    )
    media_type: str | None = None
    media_url: str | None = None
    metadata: JsonMap | None = None


class MessagesIn(Strict):
    """Messages to append, all or none."""

    messages: list[MessageIn] = Field(min_length=1, max_length=100)


class ChatQuery(BaseModel):
    """Which chats to list."""

    model_config = ConfigDict(extra="forbid")

    owner: Id = Field("me", description="`me`, `any` for all you may read, or a person's id.")
    archived: bool | None = None
    pinned: bool | None = None
    folder_id: Id | None = None
    tag: str | None = Field(None, max_length=200)
    model_id: Id | None = None
    dialect: Literal["native", "cuadra", "openwebui", "lexicon", "synthflow"] | None = None
    deleted: bool = Field(False, description="Deleted chats instead: those you may restore.")
    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, description="`next_cursor` of the page before.", max_length=1000)


class ChatIn(Strict):
    """A chat to create."""

    id: Id | None = Field(None, description="Your own id; a UUIDv7 is made when absent.")
    title: str | None = Field(
        None, description="At most 500 characters; made from the first message when absent."
    )
    model_id: Id | None = Field(
        None, description="Who shall answer; the organisation's first model when absent."
    )
    system_prompt: str | None = None
    metadata: JsonMap | None = None
    visibility: Visibility = "private"
    shared_with: list[Id] = Field(
        default_factory=list, description="People who may read it when it is `shared`."
    )
    origin: Literal["api", "m2m", "connector"] | None = Field(
        None, description="`m2m` and `connector` only for services."
    )
    source: str | None = Field(
        None, description="Where exactly it comes from: dashboard, slack, …", max_length=200
    )
    tags: list[Name] = Field(default_factory=list, max_length=50)
    folder_id: Id | None = None
    pinned: bool = False
    archived: bool = False
    ttl_s: int | None = Field(
        None,
        ge=1,
        le=31_622_400,
        description="Makes the chat ephemeral: it is deleted after so many seconds.",
    )
    messages: list[MessageIn] = Field(default_factory=list, max_length=1000)


class ChatPatch(Strict):
    """What to change; absent fields stay, null clears where a field may be null."""

    title: str | None = None
    system_prompt: str | None = None
    metadata: JsonMap | None = None
    model_id: Id | None = None
    visibility: Visibility = "private"
    shared_with: list[Id] = Field(default_factory=list)
    tags: list[Name] = Field(default_factory=list, max_length=50)
    folder_id: Id | None = None
    pinned: bool = False
    archived: bool = False
    session_state: SessionState = "ongoing"
    current_message_id: Id = ""


class ModelIn(Strict):
    """A model of the organisation's own, or what to change in one."""

    display_name: Name
    context_window: int = Field(ge=1, le=2_000_000, description="Tokens.")
    description: str | None = None
    provider: str | None = Field(
        None, description="A configured provider; null for a model that has a parent."
    )
    model_name: str | None = Field(None, description="The model's name at its provider.")
    max_tokens_per_request: int | None = Field(None, ge=1, le=200_000)
    supports_streaming: bool = True
    supports_tools: bool | None = None
    supports_vision: bool | None = None
    supports_reasoning: bool | None = None
    credit_multiplier: float | None = Field(None, allow_inf_nan=False)
    input_price: Price | None = Field(
        None,
        description='What a million tokens of the prompt cost, as decimal text ("0.15") in your own currency; without '
        "it a parent's price counts.",
    )
    output_price: Price | None = Field(None, description="The same for the answer.")
    model_tier: Literal["standard", "premium"] | None = None
    lifecycle_state: Literal["active", "disabled", "deprecated", "end_of_life"] = "active"
    end_of_life_at: str | None = Field(
        None, description="ISO 8601 UTC.", json_schema_extra={"format": "date-time"}
    )
    deprecation_notice: str | None = None
    is_recommended: bool = False
    enabled: bool = True
    parent_model_id: Id | None = Field(None, description="The model that really answers.")
    profile_id: str | None = None
    metadata: JsonMap | None = None
    system_prompt_id: str | None = None
    system_prompt: str | None = None


class FolderIn(Strict):
    """A folder's name."""

    name: Name


class FunctionCallOut(TypedDict):
    """The function called; `arguments` is what the model says is JSON."""

    name: str
    arguments: str


class ToolCallOut(TypedDict):
    """A call of a tool, for the client to make: append its result as a `tool` message with this `id`."""

    id: str
    type: Literal["function"]
    function: FunctionCallOut


class SourceOut(TypedDict):
    """A web page that an answer names as its source, with what the provider tells of it."""

    url: str
    title: str | None
    text: str | None


class MessageOut(TypedDict):
    """A message."""

    id: str
    chat_id: str
    seq: int
    parent_id: str | None
    children_ids: NotRequired[list[str]]
    role: Role
    content: str
    turn_number: int
    status: Literal["generating", "complete", "incomplete", "error"]
    error: str | None
    author_id: str | None
    agent_id: str | None
    state_id: str | None
    model_id: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost: str | None
    response_time_ms: int | None
    tool_call_id: str | None
    tool_calls: list[ToolCallOut] | None
    media_type: str | None
    media_url: str | None
    sources: list[SourceOut] | None
    metadata: JsonMap | None
    created_at: str


class ModelOut(TypedDict):
    """A model of the catalogue."""

    id: str
    display_name: str
    context_window: int
    description: str | None
    provider: str | None
    model_name: str | None
    max_tokens_per_request: int | None
    supports_streaming: bool
    supports_tools: bool | None
    supports_vision: bool | None
    supports_reasoning: bool | None
    credit_multiplier: float | None
    input_price: str | None
    output_price: str | None
    model_tier: str | None
    lifecycle_state: str
    end_of_life_at: str | None
    deprecation_notice: str | None
    is_recommended: bool
    enabled: bool
    is_system_model: bool
    parent_model_id: str | None
    profile_id: str | None
    metadata: JsonMap | None
    system_prompt_id: str | None
    system_prompt: str | None
    created_at: str
    updated_at: str


class ChatOut(TypedDict):
    """A chat without its messages."""

    id: str
    organisation_id: str
    owner_id: str | None
    dialect: str
    title: str | None
    model_id: str | None
    agent_id: str | None
    system_prompt: str | None
    metadata: JsonMap | None
    origin: Literal["api", "m2m", "connector"]
    source: str | None
    visibility: Visibility
    shared_with: list[str]
    status: Literal["generating", "error"] | None
    last_error: str | None
    last_error_at: str | None
    session_state: SessionState
    end_reason: str | None
    current_message_id: str | None
    message_count: int
    documents_count: int
    last_message_at: str | None
    pinned: bool
    archived: bool
    tags: list[str]
    folder_id: str | None
    share_id: str | None
    ephemeral: bool
    expires_at: str | None
    deleted_at: str | None
    deleted_by: str | None
    created_at: str
    updated_at: str
    version: int


class ChatFull(ChatOut, total=False):
    """A chat with what `expand` asked for."""

    messages: list[MessageOut]
    model: ModelOut | None


class ChatPage(TypedDict):
    """A page of chats."""

    items: list[ChatOut]
    next_cursor: str | None
    has_more: bool
    total_count: int


class MessagePage(TypedDict):
    """A page of messages."""

    items: list[MessageOut]
    next_cursor: str | None
    has_more: bool


class MessagesAppended(TypedDict):
    """The messages just written."""

    items: list[MessageOut]


class ModelPage(TypedDict):
    """A page of the catalogue."""

    items: list[ModelOut]
    next_cursor: str | None
    has_more: bool


class UsageOut(TypedDict):
    """Tokens as the provider counted them. `cost` is decimal text: the provider's word, else by the model's prices."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost: str | None


class FolderOut(TypedDict):
    """A folder."""

    id: str
    name: str
    created_at: str
    updated_at: str


class FolderList(TypedDict):
    """The caller's folders."""

    items: list[FolderOut]


class ShareOut(TypedDict):
    """A frozen copy of a chat."""

    id: str
    chat_id: str
    snapshot: JsonMap
    created_at: str
    updated_at: str


class MeOut(TypedDict):
    """Who the credential stands for."""

    id: str
    organisation_id: str
    name: str
    kind: Literal["person", "service"]
    role: str
    scopes: list[str]


class Problem(TypedDict, total=False):
    """An error (RFC 9457). `code` is stable; `field` says where, for an invalid field."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str
