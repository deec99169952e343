"""Cuadra's shapes, field by field as in contracts/cuadra.md. Names are camelCase on the wire; times ISO 8601 UTC text.

Bodies are strict: a field that is not documented is refused, so that nothing that was asked for is silently dropped.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

JsonMap = dict[str, Any]
Role = Literal["user", "assistant", "system", "tool"]
Visibility = Literal["private", "organization", "shared"]
Word = Annotated[str, StringConstraints(max_length=512)]
SYSTEM_PROMPT = AliasChoices("systemPrompt", "system_prompt")
SPELLINGS = ("systemPrompt", "system_prompt")
UNSERVED = ("response_format", "file_ids", "enable_reasoning", "enable_artifacts")


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)

    @model_validator(mode="before")
    @classmethod
    def _one_spelling(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and all(spelling in raw for spelling in SPELLINGS):
            raise ValueError("give systemPrompt or system_prompt, not both")
        return raw


class FunctionCall(Body):
    """The function an assistant called; `arguments` is a JSON string."""

    name: str = Field(min_length=1, max_length=200)
    arguments: str


class ToolCall(Body):
    """A call an assistant made."""

    id: str = Field(min_length=1, max_length=200)
    type: Literal["function"]
    function: FunctionCall


class FunctionIn(Body):
    """A function the model may have called; `parameters` is the JSON Schema of its arguments."""

    name: str = Field(pattern="^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: JsonMap | None = None


class ToolIn(Body):
    """A tool; the client makes its calls."""

    type: Literal["function"]
    function: FunctionIn


class MessageIn(Body):
    """A message to append."""

    role: Role
    content: str | None = Field(
        None, description="The text, at most 100,000 bytes; may be null for assistants."
    )
    tool_call_id: str | None = Field(
        None, max_length=200, description="Required for `tool`: the call it answers."
    )
    tool_calls: list[ToolCall] | None = Field(None, max_length=100, description="Only for `assistant`.")

    @model_validator(mode="after")
    def _agrees_with_role(self) -> Self:
        if self.role == "tool" and not self.tool_call_id:
            raise ValueError("toolCallId is required when role is tool")
        if self.role != "assistant" and self.tool_calls:
            raise ValueError("only an assistant has toolCalls")
        if self.role in ("user", "system") and not self.content:
            raise ValueError(f"a {self.role} message needs content")
        return self


class ChatIn(Body):
    """What to say, in a new chat or in one there is, and how it shall be answered."""

    messages: list[MessageIn] = Field(min_length=1, max_length=1000)
    chat_id: str | None = Field(None, description="The chat to continue; a new one when absent.")
    model_id: str | None = Field(
        None, description="Who answers; the chat's model, or the organisation's first."
    )
    system_prompt: str | None = Field(
        None, validation_alias=SYSTEM_PROMPT, description="Becomes the chat's own."
    )
    ephemeral: bool = Field(False, description="A new chat that deletes itself.")
    stream: bool = Field(False, description="Server-sent events instead of one answer at the end.")
    max_tokens: int | None = Field(None, ge=1, le=32_000)
    temperature: float | None = Field(None, ge=0, le=2)
    response_format: JsonMap | None = Field(None, description="Not served yet; only null.")
    enable_reasoning: bool = Field(False, description="Not served yet; only false.")
    reasoning_budget: int | None = Field(None, ge=1, description="Counts only with enableReasoning.")
    enable_artifacts: bool = Field(False, description="Not served yet; only false.")
    file_ids: list[str] | None = Field(None, description="Not served yet; only empty.")
    tools: list[ToolIn] | None = Field(None, max_length=128, description="What the model may call.")


class ChatPatch(Body):
    """What to change; fields you leave out stay. `visibility` and `sharedWith` are chatkeep's extension."""

    title: str | None = Field(None, description="At most 500 characters.")
    system_prompt: str | None = Field(None, validation_alias=SYSTEM_PROMPT)
    metadata: JsonMap | None = None
    visibility: Visibility = "private"
    shared_with: list[str] | None = Field(
        None, description="Ids of people who may read it when it is `shared`."
    )


class TokenIn(BaseModel):
    """A client-credentials grant (RFC 6749 4.4); fields that are not known are passed over, as it demands."""

    model_config = ConfigDict(extra="ignore", strict=True)

    client_id: Word
    client_secret: Word
    grant_type: Literal["client_credentials"]
    scope: str | None = Field(
        None, description="Narrows nothing; the answer then says what the token may do."
    )


class TokenOut(TypedDict):
    """An access token; `expires_in` in seconds."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int
    scope: NotRequired[str]


class JsonWebKeys(TypedDict):
    """The keys that verify access tokens (RFC 7517)."""

    keys: list[JsonMap]


class FileOut(TypedDict):
    """A file of a message."""

    id: str
    filename: str
    contentType: str
    sizeBytes: int
    url: str


class MessageOut(TypedDict):
    """A message. `cost` is decimal text; `content` is null for an assistant that only called tools."""

    role: Role
    id: str
    chatId: str
    createdAt: str
    content: str | None
    tokenCount: int | None
    cost: str | None
    responseTimeMs: int | None
    metadata: JsonMap | None
    toolCallId: str | None
    toolCalls: list[Any] | None
    files: list[FileOut] | None


class ModelOut(TypedDict):
    """A model. What is not required stands only where it is known."""

    id: str
    displayName: str
    description: str | None
    provider: str | None
    modelName: str | None
    contextWindow: int
    maxTokensPerRequest: int | None
    supportsStreaming: bool
    supportsTools: NotRequired[bool]
    supportsVision: NotRequired[bool]
    supportsReasoning: NotRequired[bool]
    creditMultiplier: float | None
    modelTier: NotRequired[str]
    lifecycleState: str
    endOfLifeAt: NotRequired[str]
    deprecationNotice: NotRequired[str]
    isRecommended: bool
    enabled: bool
    isSystemModel: bool
    parentModelId: NotRequired[str]
    profileId: NotRequired[str]
    metadata: JsonMap | None
    systemPromptId: NotRequired[str]
    systemPrompt: NotRequired[str]
    createdAt: str
    updatedAt: str


class ModelPage(TypedDict):
    """A page of the catalogue."""

    items: list[ModelOut]
    nextCursor: str | None
    hasMore: bool


class ChatItem(TypedDict):
    """A chat in a list."""

    createdAt: str
    updatedAt: str
    organizationId: str
    id: str
    title: str | None
    modelId: str
    status: Literal["generating", "error"] | None
    deletedAt: str | None
    model: ModelOut | None


class ChatPage(TypedDict):
    """A page of the caller's chats."""

    items: list[ChatItem]
    nextCursor: str | None
    hasMore: bool
    totalCount: int


class ChatOut(TypedDict):
    """A chat with everything. `status` null is idle; `model` only where it was asked for."""

    createdAt: str
    updatedAt: str
    organizationId: str
    id: str
    modelId: str
    createdBy: str
    title: str | None
    systemPrompt: str | None
    metadata: JsonMap | None
    status: Literal["generating", "error"] | None
    lastError: str | None
    lastErrorAt: str | None
    model: ModelOut | None
    messages: list[MessageOut]
    documentsCount: int
    visibility: Visibility
    sharedWith: list[str] | None
    deletedAt: str | None
    deletedBy: str | None
    source: Literal["api", "m2m", "connector"]
    sourceDetail: str | None
    ephemeral: bool
    ephemeralExpiresAt: str | None


class UsageOut(TypedDict):
    """Tokens as the provider counted them, and their cost as decimal text where it is known."""

    inputTokens: int
    outputTokens: int
    totalTokens: int
    cost: NotRequired[str]


class Completion(TypedDict):
    """An answer: the chat's id, the assistant's message, and what it used where the provider counted."""

    id: str
    message: MessageOut
    usage: UsageOut | None


class ChunkError(TypedDict):
    """Why a stream ended without a whole answer."""

    code: Literal["service_error"]
    message: str


class FunctionChunk(TypedDict):
    """A function that is called; `arguments` is a JSON string."""

    name: str
    arguments: str


class ToolCallChunk(TypedDict):
    """A call; it comes whole, though the format would take it in pieces."""

    index: int
    id: str
    type: Literal["function"]
    function: FunctionChunk


class Chunk(TypedDict):
    """One event of a stream. `id` is the chat's; the last one is `finished` and has `usage` or `error`."""

    id: str
    delta: str
    reasoning: NotRequired[str]
    toolCalls: NotRequired[list[ToolCallChunk]]
    finished: bool
    usage: NotRequired[UsageOut | None]
    error: NotRequired[ChunkError]


class Problem(TypedDict):
    """An error (RFC 7807)."""

    type: str
    title: str
    status: int
    detail: str
