"""Domain values to the native dialect's shapes and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

from chatkeep.dialects.native import wire, wire_documents, wire_runs
from chatkeep.domain.chat import Chat, ChatChanges, ChatThread, NewChat
from chatkeep.domain.document import Document
from chatkeep.domain.errors import InvalidField
from chatkeep.domain.folder import Folder
from chatkeep.domain.ids import ChatId, FolderId, MessageId, ModelId, PrincipalId
from chatkeep.domain.message import Message, NewMessage, children_of
from chatkeep.domain.model import Model, ModelCard
from chatkeep.domain.principal import Principal
from chatkeep.domain.run import Run
from chatkeep.domain.share import Share
from chatkeep.domain.text import iso_z, iso_z_or_none
from chatkeep.domain.usage import Usage

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END_US = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1) + 1
"""What comes after the last time a calendar can write."""


def chat(value: Chat) -> wire.ChatOut:
    """A chat without its messages."""
    return {
        "id": value.id,
        "organisation_id": value.organisation_id,
        "owner_id": value.owner_id,
        "dialect": value.dialect,
        "title": value.title,
        "model_id": value.model_id,
        "agent_id": value.agent_id,
        "system_prompt": value.system_prompt,
        "metadata": value.metadata,
        "origin": value.origin,
        "source": value.source,
        "visibility": value.visibility,
        "shared_with": list(value.shared_with),
        "status": value.status,
        "last_error": value.last_error,
        "last_error_at": iso_z_or_none(value.last_error_at),
        "session_state": value.session_state,
        "end_reason": value.end_reason,
        "current_message_id": value.current_message_id,
        "message_count": value.message_count,
        "documents_count": value.documents_count,
        "last_message_at": iso_z_or_none(value.last_message_at),
        "pinned": value.pinned,
        "archived": value.archived,
        "tags": list(value.tags),
        "folder_id": value.folder_id,
        "share_id": value.share_id,
        "ephemeral": value.is_ephemeral,
        "expires_at": iso_z_or_none(value.expires_at),
        "deleted_at": iso_z_or_none(value.deleted_at),
        "deleted_by": value.deleted_by,
        "created_at": iso_z(value.created_at),
        "updated_at": iso_z(value.updated_at),
        "version": value.version,
    }


def full_chat(thread: ChatThread, model: Model | None, expand: frozenset[str]) -> wire.ChatFull:
    """A chat with what was asked for: `messages` (the current path) and `model`."""
    out = cast("wire.ChatFull", chat(thread.chat))
    if "messages" in expand:
        children = children_of(thread.messages)
        out["messages"] = [message(each, children) for each in thread.path]
    if "model" in expand:
        out["model"] = None if model is None else model_out(model)
    return out


def message(value: Message, children: Mapping[MessageId, list[MessageId]] | None = None) -> wire.MessageOut:
    """A message; with `children` of the whole chat also the ids that follow it."""
    out: wire.MessageOut = {
        "id": value.id,
        "chat_id": value.chat_id,
        "seq": value.seq,
        "parent_id": value.parent_id,
        "role": value.role,
        "content": value.content,
        "turn_number": value.turn_number,
        "status": value.status,
        "error": value.error,
        "author_id": value.author_id,
        "agent_id": value.agent_id,
        "state_id": value.state_id,
        "model_id": value.model_id,
        "input_tokens": value.input_tokens,
        "output_tokens": value.output_tokens,
        "cost": value.cost,
        "response_time_ms": value.response_time_ms,
        "tool_call_id": value.tool_call_id,
        "tool_calls": cast("list[wire.ToolCallOut] | None", value.tool_calls),
        "media_type": value.media_type,
        "media_url": value.media_url,
        "sources": cast("list[wire.SourceOut] | None", value.sources),
        "metadata": value.metadata,
        "created_at": iso_z(value.created_at),
    }
    if children is not None:
        out["children_ids"] = list(children[value.id])
    return out


def model_out(value: Model) -> wire.ModelOut:
    """A model of the catalogue."""
    card = value.card
    return {
        "id": value.id,
        "display_name": card.display_name,
        "context_window": card.context_window,
        "description": card.description,
        "provider": card.provider,
        "model_name": card.model_name,
        "max_tokens_per_request": card.max_tokens_per_request,
        "supports_streaming": card.supports_streaming,
        "supports_tools": card.supports_tools,
        "supports_vision": card.supports_vision,
        "supports_reasoning": card.supports_reasoning,
        "credit_multiplier": card.credit_multiplier,
        "input_price": card.input_price,
        "output_price": card.output_price,
        "model_tier": card.model_tier,
        "lifecycle_state": card.lifecycle_state,
        "end_of_life_at": iso_z_or_none(card.end_of_life_at),
        "deprecation_notice": card.deprecation_notice,
        "is_recommended": card.is_recommended,
        "enabled": card.enabled,
        "is_system_model": value.is_system_model,
        "parent_model_id": card.parent_model_id,
        "profile_id": card.profile_id,
        "metadata": card.metadata,
        "system_prompt_id": card.system_prompt_id,
        "system_prompt": card.system_prompt,
        "created_at": iso_z(value.created_at),
        "updated_at": iso_z(value.updated_at),
    }


def usage(value: Usage | None) -> wire.UsageOut | None:
    """Token counts and their cost, or None where the provider did not count."""
    if value is None:
        return None
    return {
        "input_tokens": value.input_tokens,
        "output_tokens": value.output_tokens,
        "total_tokens": value.total_tokens,
        "cost": value.cost,
    }


def run(value: Run) -> wire_runs.RunOut:
    """A run."""
    return {
        "id": value.id,
        "chat_id": value.chat_id,
        "question_id": value.question_id,
        "answer_id": value.answer_id,
        "model_id": value.model_id,
        "principal_id": value.principal_id,
        "state": value.state,
        "first_seq": value.first_seq,
        "epoch": value.epoch,
        "stop_requested_at": iso_z_or_none(value.stop_requested_at),
        "usage": usage(value.usage),
        "response_time_ms": value.response_time_ms,
        "started_at": iso_z(value.started_at),
        "ended_at": iso_z_or_none(value.ended_at),
        "error": value.error,
    }


def folder(value: Folder) -> wire.FolderOut:
    """A folder."""
    created_at, updated_at = iso_z(value.created_at), iso_z(value.updated_at)
    return {"id": value.id, "name": value.name, "created_at": created_at, "updated_at": updated_at}


def document(value: Document) -> wire_documents.DocumentOut:
    """A document without its text."""
    return {
        "id": value.id,
        "chat_id": value.chat_id,
        "filename": value.filename,
        "content_type": value.content_type,
        "size_bytes": value.size_bytes,
        "sha256": value.sha256,
        "created_by": value.created_by,
        "created_at": iso_z(value.created_at),
    }


def share(value: Share) -> wire.ShareOut:
    """A share."""
    return {
        "id": value.id,
        "chat_id": value.chat_id,
        "snapshot": value.snapshot,
        "created_at": iso_z(value.created_at),
        "updated_at": iso_z(value.updated_at),
    }


def me(value: Principal) -> wire.MeOut:
    """Who calls."""
    return {
        "id": value.id,
        "organisation_id": value.organisation_id,
        "name": value.name,
        "kind": value.kind,
        "role": value.role,
        "scopes": sorted(value.scopes),
    }


def new_chat(body: wire.ChatIn) -> NewChat:
    """What a client wants created."""
    return NewChat(
        dialect="native",
        id=None if body.id is None else ChatId(body.id),
        title=body.title,
        model_id=None if body.model_id is None else ModelId(body.model_id),
        system_prompt=body.system_prompt,
        metadata=body.metadata,
        origin=body.origin,
        source=body.source,
        visibility=body.visibility,
        shared_with=tuple(PrincipalId(each) for each in body.shared_with),
        tags=tuple(body.tags),
        folder_id=None if body.folder_id is None else FolderId(body.folder_id),
        pinned=body.pinned,
        archived=body.archived,
        ttl_s=body.ttl_s,
    )


def new_messages(bodies: Sequence[wire.MessageIn], author: PrincipalId) -> list[NewMessage]:
    """Messages a client wants appended."""
    return [
        NewMessage(
            role=body.role,
            content=body.content,
            id=None if body.id is None else MessageId(body.id),
            parent_id=None if body.parent_id is None else MessageId(body.parent_id),
            author_id=author if body.role == "user" else None,
            tool_call_id=body.tool_call_id,
            tool_calls=None if body.tool_calls is None else [call.model_dump() for call in body.tool_calls],
            media_type=body.media_type,
            media_url=body.media_url,
            metadata=body.metadata,
        )
        for body in bodies
    ]


def changes(body: wire.ChatPatch) -> ChatChanges:
    """What a client wants changed: the fields it mentioned."""
    said = body.model_fields_set
    values = {name: getattr(body, name) for name in said}
    for name in ("shared_with", "tags"):
        if name in said:
            values[name] = tuple(values[name])
    return ChatChanges(**values)


def card(body: wire.ModelIn) -> ModelCard:
    """A model's card. Raises `InvalidField` for a time that is none."""
    values = body.model_dump()
    if body.end_of_life_at is not None:
        values["end_of_life_at"] = _time_us("end_of_life_at", body.end_of_life_at)
    return ModelCard(**values)


def _time_us(field: str, text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidField(field, "must be an ISO 8601 time") from None
    time_us = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)
    if not 0 <= time_us < END_US:
        raise InvalidField(field, "must be a time from 1970 to 9999")
    return time_us
