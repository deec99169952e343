"""Events of the journal in the native dialect's shapes. Pure."""

from __future__ import annotations

from typing import Any

from chatkeep.dialects.native import translate, wire_events
from chatkeep.domain.event import Event, EventKind
from chatkeep.domain.json import JsonObject
from chatkeep.domain.text import iso_z, iso_z_or_none
from chatkeep.domain.usage import Usage
from chatkeep.services.journal import Batch, Snapshot

TIMES = ("last_error_at", "last_message_at", "expires_at", "deleted_at", "created_at", "updated_at")

NAMED: dict[EventKind, str] = {"run.source": "source", "run.tool_call": "tool_call"}
"""Kinds that are about one thing, and have its fields under this name."""


def event(value: Event) -> dict[str, Any]:
    """One event; the fields are those of its kind in `wire_events`."""
    out: dict[str, Any] = {"seq": value.seq, "type": value.kind, "at": iso_z(value.at)}
    if not value.kind.startswith("chat."):
        out["run_id"] = value.run_id
    if value.text is not None:
        out["text"] = value.text
    if value.message is not None or value.ends_run:
        out["message"] = None if value.message is None else translate.message(value.message)
    if value.data is not None:
        name = NAMED.get(value.kind)
        out.update(value.data if name is None else {name: value.data})
    if value.ends_run:
        counted: Any = out["usage"]
        out["usage"] = translate.usage(None if counted is None else Usage(**counted))
    if value.chat is not None:
        out["chat"] = moved(value.chat)
    return out


def moved(fields: JsonObject) -> dict[str, Any]:
    """Fields of a chat that moved, as `ChatOut` has them."""
    out: dict[str, Any] = dict(fields)
    for name in TIMES:
        if name in out:
            out[name] = iso_z_or_none(out[name])
    if "expires_at" in out:
        out["ephemeral"] = out["expires_at"] is not None
    return out


def snapshot(value: Snapshot) -> wire_events.SnapshotOut:
    """A picture of the chat."""
    return {
        "seq": value.seq,
        "type": "snapshot",
        "chat": translate.chat(value.chat),
        "messages": [translate.message(each) for each in value.messages],
        "has_more": value.has_more,
        "runs": [translate.run(each) for each in value.runs],
    }


def page(batch: Batch, after: int) -> dict[str, Any]:
    """What a poll found."""
    if isinstance(batch, Snapshot):
        return {"items": [snapshot(batch)], "after": batch.seq}
    return {"items": [event(each) for each in batch], "after": batch[-1].seq if batch else after}
