"""A chat, what may be changed in it, and who may see or change it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from chatkeep.domain.ids import (
    AgentId,
    ChatId,
    FolderId,
    MessageId,
    ModelId,
    OrganisationId,
    PrincipalId,
    ShareId,
)
from chatkeep.domain.json import JsonObject
from chatkeep.domain.message import Message, path_to
from chatkeep.domain.principal import Origin, Principal

ChatStatus = Literal["generating", "error"]
SessionState = Literal["ongoing", "completed", "cancelled"]
Visibility = Literal["private", "organization", "shared"]
Dialect = Literal["native", "cuadra", "openwebui", "lexicon", "synthflow"]
SESSION_STATES: tuple[SessionState, ...] = get_args(SessionState)
VISIBILITIES: tuple[Visibility, ...] = get_args(Visibility)
ORIGINS: tuple[Origin, ...] = get_args(Origin)


@dataclass(frozen=True, slots=True)
class ChatAccess:
    """The few columns that decide who may do what, and which version is current. The cheapest read there is."""

    owner_id: PrincipalId | None
    visibility: Visibility
    created_at: int
    version: int
    expires_at: int | None
    deleted_at: int | None
    status: ChatStatus | None = None

    def is_gone(self, now_us: int) -> bool:
        """Soft-deleted, or an ephemeral chat past its time."""
        return self.deleted_at is not None or self.is_expired(now_us)

    def is_expired(self, now_us: int) -> bool:
        """An ephemeral chat past its time: only the sweeper still knows it."""
        return self.expires_at is not None and self.expires_at <= now_us

    def is_managed_by(self, principal: Principal) -> bool:
        """Whether the caller may change the chat: its creator, or an owner or admin of the organisation."""
        return principal.is_administrator or self.owner_id == principal.id

    def is_open_to(self, principal: Principal) -> bool:
        """Whether the caller may read it without being named in its list of people (`shared` needs that list)."""
        return self.is_managed_by(principal) or self.visibility == "organization"


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat as stored. Times in microseconds UTC; `version` moves with every change and is the ETag.

    `status` tells about generation (None is idle), `session_state` about the conversation. `message_count` counts the
    user and assistant messages on the current path. `extra` keeps, per dialect, wire fields chatkeep does not know.
    """

    organisation_id: OrganisationId
    id: ChatId
    owner_id: PrincipalId | None
    owner_name: str
    owner_external_id: str | None
    dialect: Dialect
    model_id: ModelId | None
    agent_id: AgentId | None
    title: str | None
    system_prompt: str | None
    metadata: JsonObject | None
    extra: JsonObject
    origin: Origin
    source: str | None
    visibility: Visibility
    status: ChatStatus | None
    last_error: str | None
    last_error_at: int | None
    session_state: SessionState
    end_reason: str | None
    current_message_id: MessageId | None
    last_seq: int
    is_branched: bool
    message_count: int
    documents_count: int
    last_message_at: int | None
    pinned: bool
    archived: bool
    folder_id: FolderId | None
    share_id: ShareId | None
    expires_at: int | None
    deleted_at: int | None
    deleted_by: PrincipalId | None
    created_at: int
    updated_at: int
    version: int
    tags: tuple[str, ...] = ()
    shared_with: tuple[PrincipalId, ...] = ()

    @property
    def is_ephemeral(self) -> bool:
        """Whether the chat deletes itself at `expires_at`."""
        return self.expires_at is not None

    @property
    def access(self) -> ChatAccess:
        """The columns that decide about access."""
        return ChatAccess(
            self.owner_id,
            self.visibility,
            self.created_at,
            self.version,
            self.expires_at,
            self.deleted_at,
            self.status,
        )


@dataclass(frozen=True, slots=True)
class ChatThread:
    """A chat with all its messages in the order they were written."""

    chat: Chat
    messages: list[Message]

    @property
    def path(self) -> list[Message]:
        """Root to current message: what linear dialects show."""
        return path_to(self.messages, self.chat.current_message_id)


@dataclass(frozen=True, slots=True)
class NewChat:
    """What a dialect may say when it creates a chat; everything else is derived.

    `ttl_s` makes the chat ephemeral. `owner_id` is for callers that act for somebody else (tenant keys).
    """

    dialect: Dialect
    id: ChatId | None = None
    owner_id: PrincipalId | None = None
    title: str | None = None
    model_id: ModelId | None = None
    agent_id: AgentId | None = None
    system_prompt: str | None = None
    metadata: JsonObject | None = None
    extra: JsonObject = field(default_factory=dict)
    origin: Origin | None = None
    source: str | None = None
    visibility: Visibility = "private"
    shared_with: tuple[PrincipalId, ...] = ()
    tags: tuple[str, ...] = ()
    folder_id: FolderId | None = None
    pinned: bool = False
    archived: bool = False
    ttl_s: int | None = None


class Unset:
    """The type of `UNSET`: a field the client did not mention."""

    __slots__ = ()


UNSET = Unset()


@dataclass(frozen=True, slots=True)
class ChatChanges:
    """What a client wants changed; `UNSET` leaves a field as it is, None clears it where it may be empty."""

    title: str | None | Unset = UNSET
    system_prompt: str | None | Unset = UNSET
    metadata: JsonObject | None | Unset = UNSET
    model_id: ModelId | None | Unset = UNSET
    visibility: Visibility | Unset = UNSET
    shared_with: tuple[PrincipalId, ...] | Unset = UNSET
    tags: tuple[str, ...] | Unset = UNSET
    folder_id: FolderId | None | Unset = UNSET
    pinned: bool | Unset = UNSET
    archived: bool | Unset = UNSET
    session_state: SessionState | Unset = UNSET
    current_message_id: MessageId | Unset = UNSET


@dataclass(frozen=True, slots=True)
class ChatFilter:
    """Which chats a list shows. `owner` is a principal, or None for all the caller may read."""

    owner_id: PrincipalId | None = None
    archived: bool | None = None
    pinned: bool | None = None
    folder_id: FolderId | None = None
    tag: str | None = None
    model_id: ModelId | None = None
    agent_id: AgentId | None = None
    dialect: Dialect | None = None
    is_deleted: bool = False
