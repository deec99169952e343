"""Domain values to Lexicon's shapes and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatkeep.dialects.lexicon import wire
from chatkeep.domain.chat import Chat, NewChat
from chatkeep.domain.ids import ModelId
from chatkeep.domain.message import Message
from chatkeep.domain.text import iso_z, iso_z_or_none

NAME = "lexicon"
UNTITLED = "New Chat"
DELETED = "Chat deleted successfully"


def new_chat(body: wire.ChatIn) -> NewChat:
    """What a tenant wants created; whose it is stands in `body.user_id`."""
    config = body.config
    metadata = body.metadata if body.metadata is not None or config is None else config.metadata
    others = config.model_extra if config is not None else None
    return NewChat(
        dialect="lexicon",
        title=body.title if body.title and body.title.strip() else None,
        metadata=metadata,
        extra={NAME: {"config": others}} if others else {},
    )


def chat(value: Chat) -> wire.ChatOut:
    """A chat without its messages."""
    return {
        "id": value.id,
        "user_id": value.owner_external_id or value.owner_id or "",
        "tenant_id": value.organisation_id,
        "title": value.title or UNTITLED,
        "config": _config(value),
        "created_at": iso_z(value.created_at),
        "updated_at": iso_z(value.updated_at),
        "last_message_at": iso_z_or_none(value.last_message_at),
        "message_count": value.message_count,
        "status": "active" if value.session_state == "ongoing" else "closed",
    }


def message(value: Message, model_names: Mapping[ModelId, str]) -> wire.MessageOut:
    """A user's or an assistant's message; a model without a name is told by its id."""
    return {
        "id": value.id,
        "content": value.content,
        "sender_role": "assistant" if value.role == "assistant" else "user",
        "media_type": value.media_type,
        "media_url": value.media_url,
        "created_at": iso_z(value.created_at),
        "metadata": {**_of_model(value, model_names), **(value.metadata or {})},
    }


def deleted(at_us: int) -> wire.Deleted:
    """The answer to DELETE; `at_us` in microseconds UTC."""
    return {"success": True, "message": DELETED, "deleted_at": iso_z(at_us)}


def _config(value: Chat) -> wire.ConfigOut:
    others: Any = value.extra.get(NAME, {})
    config: wire.ConfigOut = {**others.get("config", {}), "metadata": value.metadata or {}}
    return config


def _of_model(value: Message, model_names: Mapping[ModelId, str]) -> wire.JsonMap:
    if value.role != "assistant":
        return {}
    made: wire.JsonMap = {}
    if value.model_id is not None:
        made["model"] = model_names.get(value.model_id, value.model_id)
    if value.output_tokens is not None:
        made["tokens_used"] = value.output_tokens
    return made
