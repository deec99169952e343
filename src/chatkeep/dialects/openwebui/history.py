"""The messages of a chat that a client posts as a whole, as rows to be written. Pure.

A tree comes out parents first and otherwise by time, children in the order of their parent's `childrenIds`.
Messages that name neither parent nor child, as in the vendor's own example, are linked one after the other by time;
the old flat list `chat.messages` is taken in its order where there is no `history`. What cannot be a tree is
`Unprocessable`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from chatkeep.dialects.openwebui.errors import Location, Unprocessable
from chatkeep.dialects.openwebui.wire import JsonMap
from chatkeep.domain.ids import MessageId, ModelId, PrincipalId
from chatkeep.domain.message import MessageRole, MessageStatus, NewMessage
from chatkeep.domain.text import US

NAME = "openwebui"
LISTED_MAX = 1_000
HISTORY: Location = ("chat", "history")
MESSAGES: Location = (*HISTORY, "messages")
LIST: Location = ("chat", "messages")
ROLES: Mapping[str, MessageRole] = {"user": "user", "assistant": "assistant", "system": "system"}
DERIVED = frozenset({"id", "role", "content", "parentId", "childrenIds", "user_id", "user"})
"""What is written from columns or by the server; every other key of a message is kept as it was sent."""
MILLISECONDS_FROM = 10**11
"""A later time would be after the year 5138 in seconds, so it is meant in milliseconds."""
TIME_END_US = 253_402_300_800 * US
TOKENS_MAX = 2**53


@dataclass(frozen=True, slots=True)
class PostedMessages:
    """What to write, where each message stood in the body, the tip, and whether the client had given links."""

    said: list[NewMessage]
    locations: list[Location]
    head: MessageId | None = None
    has_links: bool = False


@dataclass(frozen=True, slots=True)
class Author:
    """On whose behalf messages are written, and the models that are known by id."""

    id: PrincipalId
    models: frozenset[str] = frozenset()


def read_messages(chat: JsonMap, author: Author) -> PostedMessages:
    """The messages in `chat`. Raises `Unprocessable`."""
    if "history" in chat:
        return _from_history(chat["history"], author)
    listed = chat.get("messages")
    if not listed:
        return PostedMessages([], [])
    return _from_list(listed, author)


def named_models(chat: JsonMap) -> set[str]:
    """Every text that stands where a model's id should be, in whatever shape the rest is."""
    history = chat.get("history")
    listed = history.get("messages") if isinstance(history, dict) else chat.get("messages")
    messages: Iterable[Any] = (
        listed.values() if isinstance(listed, dict) else listed if isinstance(listed, list) else ()
    )
    models = chat.get("models")
    first = models[:1] if isinstance(models, list) else []
    named = [*first, *(each.get("model") for each in messages if isinstance(each, dict))]
    return {each for each in named if isinstance(each, str)}


def _from_history(history: Any, author: Author) -> PostedMessages:
    if not isinstance(history, dict):
        raise Unprocessable(HISTORY, "Input should be a valid dictionary", "dict_type")
    nodes = history.get("messages") or {}
    if not isinstance(nodes, dict):
        raise Unprocessable(MESSAGES, "Input should be a valid dictionary", "dict_type")
    for key, node in nodes.items():
        _check_node(key, node)
    head = _head(history, nodes)
    ranks = _ranks(nodes)
    parents = _parents(nodes)
    if parents is None:
        order = sorted(nodes, key=ranks.__getitem__)
        parents = {order[0]: None, **{after: before for before, after in pairwise(order)}} if order else {}
    else:
        order = _ordered(nodes, parents, ranks)
    said = [_message(nodes[key], author, key, parents[key]) for key in order]
    has_links = any("parentId" in node or "childrenIds" in node for node in nodes.values())
    return PostedMessages(said, [(*MESSAGES, key) for key in order], head, has_links)


def _head(history: JsonMap, nodes: Mapping[str, JsonMap]) -> MessageId | None:
    head = history.get("currentId") or None
    if head is not None and (not isinstance(head, str) or head not in nodes):
        raise Unprocessable((*HISTORY, "currentId"), "must be the id of one of the messages")
    return head if head is None else MessageId(head)


def _from_list(listed: Any, author: Author) -> PostedMessages:
    if not isinstance(listed, list):
        raise Unprocessable(LIST, "Input should be a valid list", "list_type")
    if len(listed) > LISTED_MAX:
        raise Unprocessable(LIST, f"List should have at most {LISTED_MAX} items", "too_long")
    seen: set[str] = set()
    for position, node in enumerate(listed):
        _check_body(node, (*LIST, position))
        given = node.get("id")
        if given is not None and (not isinstance(given, str) or given in seen):
            raise Unprocessable((*LIST, position, "id"), "must be a text that no other message has as its id")
        seen.add(given or "")
    said = [_message(node, author, node.get("id"), None, is_root=False) for node in listed]
    return PostedMessages(said, [(*LIST, position) for position in range(len(listed))])


def _check_node(key: str, node: Any) -> None:
    location = (*MESSAGES, key)
    _check_body(node, location)
    if node.get("id", key) != key:
        raise Unprocessable((*location, "id"), "must be the key that the message stands under")


def _check_body(node: Any, location: Location) -> None:
    if not isinstance(node, dict):
        raise Unprocessable(location, "Input should be a valid dictionary", "dict_type")
    role = node.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise Unprocessable(
            (*location, "role"), "Input should be 'user', 'assistant' or 'system'", "literal_error"
        )
    if not isinstance(node.get("content") or "", str):
        raise Unprocessable((*location, "content"), "Input should be a valid string", "string_type")


def _parents(nodes: Mapping[str, JsonMap]) -> dict[str, str | None] | None:
    """Who follows whom, by `parentId` or else by the `childrenIds` of another; None where nobody says so."""
    claimed: dict[str, str] = {}
    for key, node in nodes.items():
        for child in _children(node):
            claimed.setdefault(child, key)
    if not claimed.keys() & nodes.keys() and not any("parentId" in node for node in nodes.values()):
        return None
    parents: dict[str, str | None] = {}
    for key, node in nodes.items():
        parent = node["parentId"] if "parentId" in node else claimed.get(key)
        if parent is not None and (not isinstance(parent, str) or parent not in nodes):
            raise Unprocessable((*MESSAGES, key, "parentId"), "must be null or the id of one of the messages")
        parents[key] = parent
    return parents


def _children(node: JsonMap) -> list[str]:
    listed = node.get("childrenIds")
    return [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []


def _ranks(nodes: Mapping[str, JsonMap]) -> dict[str, tuple[float, int]]:
    """By time where all have one, else as posted."""
    times = [_number(node.get("timestamp")) for node in nodes.values()]
    has_all = None not in times
    return {
        key: (time or 0.0 if has_all else 0.0, position)
        for position, (key, time) in enumerate(zip(nodes, times, strict=True))
    }


def _ordered(
    nodes: Mapping[str, JsonMap], parents: Mapping[str, str | None], ranks: Mapping[str, tuple[float, int]]
) -> list[str]:
    """All ids, a parent before its children and an elder child before the younger, otherwise by rank."""
    families = _families(nodes, parents, ranks)
    waiting: list[tuple[tuple[float, int], str, int]] = []
    order: list[str] = []

    def wait(parent: str | None, position: int) -> None:
        family = families.get(parent, [])
        if position < len(family):
            heapq.heappush(waiting, (ranks[family[position]], family[position], position))

    wait(None, 0)
    while waiting:
        _, key, position = heapq.heappop(waiting)
        order.append(key)
        wait(parents[key], position + 1)
        wait(key, 0)
    if len(order) < len(nodes):
        lost = next(key for key in nodes if key not in set(order))
        raise Unprocessable((*MESSAGES, lost, "parentId"), "must not lead back to the message itself")
    return order


def _families(
    nodes: Mapping[str, JsonMap], parents: Mapping[str, str | None], ranks: Mapping[str, tuple[float, int]]
) -> dict[str | None, list[str]]:
    families: dict[str | None, list[str]] = {}
    for key in sorted(nodes, key=ranks.__getitem__):
        families.setdefault(parents[key], []).append(key)
    for parent, family in families.items():
        places = (
            {child: place for place, child in enumerate(_children(nodes[parent]))}
            if parent is not None
            else {}
        )
        family.sort(key=lambda child: places.get(child, len(places)))
    return families


def _message(
    node: JsonMap, author: Author, key: str | None, parent: str | None, *, is_root: bool | None = None
) -> NewMessage:
    role = ROLES[node["role"]]
    status, error = _ending(node)
    model = node.get("model")
    input_tokens, output_tokens = _usage(node.get("usage"))
    return NewMessage(
        role=role,
        content=node.get("content") or "",
        id=None if key is None else MessageId(key),
        parent_id=None if parent is None else MessageId(parent),
        is_root=parent is None if is_root is None else is_root,
        status=status,
        error=error,
        author_id=author.id if role == "user" else None,
        model_id=ModelId(model) if isinstance(model, str) and model in author.models else None,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        extra={NAME: {name: value for name, value in node.items() if name not in DERIVED}},
        created_at=_time_us(node.get("timestamp")),
    )


def _ending(node: JsonMap) -> tuple[MessageStatus, str | None]:
    error = node.get("error")
    if error:
        content = error.get("content") if isinstance(error, dict) else error
        return "error", content if isinstance(content, str) else "The answer failed."
    return ("incomplete" if node.get("done") is False else "complete"), None


def _usage(usage: Any) -> tuple[int | None, int | None]:
    if not isinstance(usage, dict):
        return None, None
    return _count(usage, "input_tokens", "prompt_tokens"), _count(usage, "output_tokens", "completion_tokens")


def _count(usage: JsonMap, *names: str) -> int | None:
    counts = (usage.get(name) for name in names)
    return next((count for count in counts if type(count) is int and 0 <= count < TOKENS_MAX), None)


def _time_us(timestamp: Any) -> int | None:
    seconds = _number(timestamp)
    if seconds is None or seconds < 0:
        return None
    if seconds >= MILLISECONDS_FROM:
        seconds /= 1000
    time_us = round(seconds * US)
    return time_us if time_us < TIME_END_US else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value
