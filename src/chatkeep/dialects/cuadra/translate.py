"""Domain values to Cuadra's shapes and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatkeep.dialects.cuadra import wire
from chatkeep.domain.chat import UNSET, Chat, ChatChanges, ChatThread, NewChat
from chatkeep.domain.errors import InvalidField
from chatkeep.domain.ids import ModelId, PrincipalId
from chatkeep.domain.json import JsonObject
from chatkeep.domain.message import Message, NewMessage
from chatkeep.domain.model import Model
from chatkeep.domain.text import iso_z, iso_z_or_none
from chatkeep.domain.usage import Usage
from chatkeep.services.wishes import Wish

NAME = "cuadra"
WHOLE_MAX = 2**53
_WITHOUT_CONTENT: JsonObject = {NAME: {"content": None}}
_ONLY_WHERE_KNOWN = (
    "supportsTools",
    "supportsVision",
    "supportsReasoning",
    "modelTier",
    "endOfLifeAt",
    "deprecationNotice",
    "parentModelId",
    "profileId",
    "systemPromptId",
    "systemPrompt",
)


def chat(thread: ChatThread, *, model: Model | None, first: Model | None) -> wire.ChatOut:
    """A chat with the messages of its current path. `first` answers where the chat names no model itself."""
    value = thread.chat
    return {
        "createdAt": iso_z(value.created_at),
        "updatedAt": iso_z(value.updated_at),
        "organizationId": value.organisation_id,
        "id": value.id,
        "modelId": model_id(value, first) or "",
        "createdBy": value.owner_id or "",
        "title": value.title,
        "systemPrompt": value.system_prompt,
        "metadata": value.metadata,
        "status": value.status,
        "lastError": value.last_error,
        "lastErrorAt": iso_z_or_none(value.last_error_at),
        "model": None if model is None else model_out(model),
        "messages": [message(each) for each in thread.path],
        "documentsCount": value.documents_count,
        "visibility": value.visibility,
        "sharedWith": list(value.shared_with) or None,
        "deletedAt": iso_z_or_none(value.deleted_at),
        "deletedBy": value.deleted_by,
        "source": value.origin,
        "sourceDetail": value.source,
        "ephemeral": value.is_ephemeral,
        "ephemeralExpiresAt": iso_z_or_none(value.expires_at),
    }


def chat_item(value: Chat, *, models: Mapping[ModelId, Model], first: Model | None) -> wire.ChatItem:
    """A chat in a list; `models` holds those that were asked for."""
    answering = model_id(value, first)
    model = None if answering is None else models.get(answering)
    return {
        "createdAt": iso_z(value.created_at),
        "updatedAt": iso_z(value.updated_at),
        "organizationId": value.organisation_id,
        "id": value.id,
        "title": value.title,
        "modelId": answering or "",
        "status": value.status,
        "deletedAt": iso_z_or_none(value.deleted_at),
        "model": None if model is None else model_out(model),
    }


def model_id(value: Chat, first: Model | None) -> ModelId | None:
    """Who answers in the chat: its model, or the organisation's first; None where there is none at all."""
    return value.model_id or (None if first is None else first.id)


def message(value: Message) -> wire.MessageOut:
    """A message. chatkeep keeps documents by chat, not by message, so `files` is null."""
    own: Any = value.extra.get(NAME, {})
    return {
        "role": value.role,
        "id": value.id,
        "chatId": value.chat_id,
        "createdAt": iso_z(value.created_at),
        "content": None if _only_calls(value) else own.get("content", value.content),
        "tokenCount": value.token_count,
        "cost": value.cost,
        "responseTimeMs": value.response_time_ms,
        "metadata": value.metadata,
        "toolCallId": value.tool_call_id,
        "toolCalls": value.tool_calls,
        "files": None,
    }


def model_out(value: Model) -> wire.ModelOut:
    """A model of the catalogue, without the optional fields nothing is known about."""
    card = value.card
    out: Any = {
        "id": value.id,
        "displayName": card.display_name,
        "description": card.description,
        "provider": card.provider,
        "modelName": card.model_name,
        "contextWindow": card.context_window,
        "maxTokensPerRequest": card.max_tokens_per_request,
        "supportsStreaming": card.supports_streaming,
        "supportsTools": card.supports_tools,
        "supportsVision": card.supports_vision,
        "supportsReasoning": card.supports_reasoning,
        "creditMultiplier": _number(card.credit_multiplier),
        "modelTier": card.model_tier,
        "lifecycleState": card.lifecycle_state,
        "endOfLifeAt": iso_z_or_none(card.end_of_life_at),
        "deprecationNotice": card.deprecation_notice,
        "isRecommended": card.is_recommended,
        "enabled": card.enabled,
        "isSystemModel": value.is_system_model,
        "parentModelId": card.parent_model_id,
        "profileId": card.profile_id,
        "metadata": card.metadata,
        "systemPromptId": card.system_prompt_id,
        "systemPrompt": card.system_prompt,
        "createdAt": iso_z(value.created_at),
        "updatedAt": iso_z(value.updated_at),
    }
    for name in _ONLY_WHERE_KNOWN:
        if out[name] is None:
            del out[name]
    known: wire.ModelOut = out
    return known


def usage(value: Usage | None) -> wire.UsageOut | None:
    """Token counts, or None where the provider did not count; the cost only where it is known."""
    if value is None:
        return None
    out: wire.UsageOut = {
        "inputTokens": value.input_tokens,
        "outputTokens": value.output_tokens,
        "totalTokens": value.total_tokens,
    }
    if value.cost is not None:
        out["cost"] = value.cost
    return out


def new_chat(body: wire.ChatIn, *, ephemeral_ttl_s: int) -> NewChat:
    """The chat a client starts; an ephemeral one lives `ephemeral_ttl_s` seconds."""
    return NewChat(
        dialect="cuadra",
        model_id=None if body.model_id is None else ModelId(body.model_id),
        system_prompt=body.system_prompt,
        ttl_s=ephemeral_ttl_s if body.ephemeral else None,
    )


def new_messages(body: wire.ChatIn, author: PrincipalId) -> list[NewMessage]:
    """What the client says."""
    return [_new_message(each, author) for each in body.messages]


def wish(body: wire.ChatIn) -> Wish:
    """How the answer is wanted. Raises `InvalidField` for the first wish that is not served yet."""
    for name in wire.UNSERVED:
        if getattr(body, name):
            field = type(body).model_fields[name].alias
            raise InvalidField(field or name, "is not served yet; leave it out")
    return Wish(
        model_id=None if body.model_id is None else ModelId(body.model_id),
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        system_prompt=body.system_prompt,
        tools=None if not body.tools else [tool.model_dump(exclude_unset=True) for tool in body.tools],
    )


def tool_calls(value: Message) -> list[wire.ToolCallChunk]:
    """The calls that an answer ended with, as a stream has them."""
    calls: list[Any] = value.tool_calls or []
    return [
        {"index": index, "id": call["id"], "type": "function", "function": call["function"]}
        for index, call in enumerate(calls)
    ]


def changes(body: wire.ChatPatch) -> ChatChanges:
    """What a client wants changed: the fields it mentioned. `sharedWith` null names nobody."""
    said = body.model_fields_set
    people = tuple(PrincipalId(each) for each in body.shared_with or ())
    return ChatChanges(
        title=body.title if "title" in said else UNSET,
        system_prompt=body.system_prompt if "system_prompt" in said else UNSET,
        metadata=body.metadata if "metadata" in said else UNSET,
        visibility=body.visibility if "visibility" in said else UNSET,
        shared_with=people if "shared_with" in said else UNSET,
    )


def _new_message(body: wire.MessageIn, author: PrincipalId) -> NewMessage:
    calls = body.tool_calls
    return NewMessage(
        role=body.role,
        content=body.content or "",
        author_id=author if body.role == "user" else None,
        tool_call_id=body.tool_call_id,
        tool_calls=None if calls is None else [call.model_dump() for call in calls],
        extra={} if body.content is not None else _WITHOUT_CONTENT,
    )


def _only_calls(value: Message) -> bool:
    """Whether a model has answered with nothing but calls of tools."""
    return value.model_id is not None and value.tool_calls is not None and not value.content


def _number(value: float | None) -> float | None:
    # The column holds doubles, and the vendor writes 2 where it means two. A double beyond 2^53 counts nothing, and our
    # JSON has no integers of that size.
    if value is None or not value.is_integer() or abs(value) > WHOLE_MAX:
        return value
    return int(value)
