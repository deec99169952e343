"""Domain values to Open WebUI's shapes, and a posted chat to what is stored. Pure.

What a client posted is kept in `Chat.extra` and `Message.extra` and printed again; what chatkeep itself knows (title,
model, system prompt, texts, links, the tip) is printed as it is now, so that changes made elsewhere show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chatkeep.dialects.openwebui import wire
from chatkeep.dialects.openwebui.errors import Unprocessable
from chatkeep.dialects.openwebui.history import NAME, PostedMessages
from chatkeep.domain.chat import Chat, ChatThread, NewChat
from chatkeep.domain.errors import InvalidField
from chatkeep.domain.ids import FolderId, ModelId, PrincipalId
from chatkeep.domain.json import JsonObject
from chatkeep.domain.message import Message, children_of
from chatkeep.domain.text import US, tag_id

UNTITLED = "New Chat"
OF_SERVER = frozenset({"history", "share_mode"})


@dataclass(frozen=True, slots=True)
class Names:
    """What people and models are called; an id that is not here has no other name."""

    people: Mapping[PrincipalId, str] = field(default_factory=dict)
    models: Mapping[ModelId, str] = field(default_factory=dict)


def new_chat(body: wire.NewChatIn, posted: PostedMessages, model_id: ModelId | None) -> NewChat:
    """What a client wants stored; `model_id` is who shall answer. Raises `Unprocessable`."""
    chat = body.chat
    title = chat.get("title", UNTITLED)
    if not isinstance(title, str):
        raise Unprocessable(("chat", "title"), "Input should be a valid string", "string_type")
    history = chat.get("history")
    kept: JsonObject = {
        "chat": {name: value for name, value in chat.items() if name not in OF_SERVER},
        "history": None if history is None else _others(history, "messages", "currentId"),
        "has_links": posted.has_links,
        "variables": body.variables or {},
        "model": model_id,
    }
    return NewChat(
        dialect="openwebui",
        title=title,
        model_id=model_id,
        system_prompt=_system(chat),
        folder_id=None if body.folder_id is None else FolderId(body.folder_id),
        extra={NAME: kept},
    )


def first_model(chat: wire.JsonMap, known: Mapping[str, ModelId]) -> ModelId | None:
    """The model that the chat names first, if there is one of that id."""
    models = chat.get("models")
    first = models[0] if isinstance(models, list) and models else None
    return known.get(first) if isinstance(first, str) else None


def chat(thread: ChatThread, names: Names) -> wire.ChatOut:
    """A whole chat, answers that are being generated with what they have said so far."""
    value = thread.chat
    kept: wire.JsonMap = value.extra.get(NAME) or {}  # type: ignore[assignment]  # written by `new_chat`
    body: Any = _kept_body(value, kept) if kept else _own_body(value)
    is_grown = any(NAME not in message.extra for message in thread.messages)
    has_links = not kept or kept["has_links"] or is_grown
    if not kept or kept["history"] is not None or is_grown:
        messages = _messages(thread, names, has_links=has_links)
        for message in thread.messages:
            if message.status == "generating" and message.id in messages:
                messages[message.id].update(_unfinished(messages[message.id]))
        others = kept.get("history") or {}
        body["history"] = {**others, "messages": messages, "currentId": value.current_message_id}
    return {
        "id": value.id,
        "user_id": value.owner_id or "",
        "title": _title(value),
        "chat": body,
        "updated_at": value.updated_at // US,
        "created_at": value.created_at // US,
        "share_id": value.share_id,
        "archived": value.archived,
        "pinned": value.pinned,
        "meta": _meta(value),
        "variables": kept.get("variables", {}),
        "folder_id": value.folder_id,
        "tasks": None,
        "summary": None,
        "current_message_id": value.current_message_id,
        "context_usage": None,
    }


def unnamed(thread: ChatThread) -> tuple[set[PrincipalId], set[ModelId]]:
    """Whose and which models' names `chat` asks for besides the owner's."""
    authors = {message.author_id for message in thread.messages if message.role == "user"}
    used = {message.model_id for message in thread.messages if NAME not in message.extra}
    people = {author for author in authors if author is not None and author != thread.chat.owner_id}
    return people, {model for model in used if model is not None}


def located(error: InvalidField, posted: PostedMessages) -> Unprocessable:
    """A service's complaint about a new chat, with the place in the body that it is about."""
    places: dict[str, tuple[str | int, ...]] = {
        "title": ("chat", "title"),
        "system_prompt": ("chat", "params", "system"),
        "model_id": ("chat", "models", 0),
    }
    name, _, rest = error.field.partition(".")
    position, _, key = rest.partition(".")
    if name == "messages" and position.isdigit():
        return Unprocessable((*posted.locations[int(position)], key), error.message)
    return Unprocessable(places.get(name, (name,)), error.message)


def _kept_body(value: Chat, kept: wire.JsonMap) -> wire.JsonMap:
    body: wire.JsonMap = dict(kept["chat"])
    if "title" in body or value.title != UNTITLED:
        body["title"] = _title(value)
    if value.model_id is not None and value.model_id != kept["model"]:
        models = body.get("models")
        body["models"] = [value.model_id, *(models[1:] if isinstance(models, list) else ())]
    if value.system_prompt != _system(body):
        params = body.get("params")
        body["params"] = _params(value, _others(params, "system") if isinstance(params, dict) else {})
    return body


def _own_body(value: Chat) -> wire.JsonMap:
    return {
        "id": value.id,
        "title": _title(value),
        "models": [value.model_id] if value.model_id is not None else [],
        "params": _params(value, {}),
        "timestamp": value.created_at // (US // 1000),
    }


def _params(value: Chat, others: wire.JsonMap) -> wire.JsonMap:
    return others if value.system_prompt is None else {**others, "system": value.system_prompt}


def _messages(thread: ChatThread, names: Names, *, has_links: bool) -> dict[str, Any]:
    value = thread.chat
    children = children_of(thread.messages) if has_links else None
    owner_id = value.owner_id or PrincipalId("")
    people = {owner_id: value.owner_name, **names.people}
    out: dict[str, Any] = {}
    for message in thread.messages:
        made: wire.JsonMap = {"id": message.id}
        if children is not None:
            made["parentId"] = message.parent_id
            made["childrenIds"] = children[message.id]
        made["role"] = message.role
        made["content"] = message.content
        given = message.extra.get(NAME)
        made.update(given if isinstance(given, dict) else _own_message(message, value, names))
        author_id = message.author_id or owner_id
        made["user_id"] = author_id
        if message.role == "user":
            made["user"] = {"id": author_id, "name": people.get(author_id, "")}
        out[message.id] = made
    return out


def _own_message(message: Message, value: Chat, names: Names) -> wire.JsonMap:
    """The vendor's keys for a message that was not written by one of its clients."""
    made: wire.JsonMap = {"timestamp": message.created_at // US}
    if message.role == "assistant":
        if message.model_id is not None:
            name = names.models.get(message.model_id, message.model_id)
            made.update(model=message.model_id, modelName=name, modelIdx=0)
        made["done"] = True
        if message.error is not None:
            made["error"] = {"content": message.error}
        if message.input_tokens is not None and message.output_tokens is not None:
            made["usage"] = _usage(message.input_tokens, message.output_tokens)
    elif message.role == "user":
        made["models"] = [value.model_id] if value.model_id is not None else []
        if message.media_url is not None:
            kind = "image" if (message.media_type or "").startswith("image/") else "file"
            made["files"] = [{"type": kind, "url": message.media_url}]
    return made


def _usage(input_tokens: int, output_tokens: int) -> wire.UsageOut:
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
    }


def _unfinished(message: wire.MessageOut) -> wire.JsonMap:
    text = {"type": "output_text", "text": message["content"]}
    item = {"type": "message", "id": f"msg_{message['id']}", "status": "in_progress", "role": "assistant"}
    return {"done": False, "output": [{**item, "content": [text]}]}


def _title(value: Chat) -> str:
    return UNTITLED if value.title is None else value.title


def _meta(value: Chat) -> wire.JsonMap:
    meta = _others(value.metadata or {}, "tags")
    return {**meta, "tags": [tag_id(name) for name in value.tags]} if value.tags else meta


def _system(chat: wire.JsonMap) -> str | None:
    params = chat.get("params")
    system = params.get("system") if isinstance(params, dict) else None
    return system if isinstance(system, str) else None


def _others(value: Mapping[str, Any], *names: str) -> wire.JsonMap:
    return {name: each for name, each in value.items() if name not in names}
