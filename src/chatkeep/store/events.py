"""The journal: rows of events as domain values. An event is written in the transaction of what it speaks of.

The sequence comes from the statement that moved the chat's version (`RETURNING version`): it is issued and used in one
transaction, so it has no gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chatkeep.domain.event import Event, EventKind
from chatkeep.domain.ids import ChatId, OrganisationId, RunId
from chatkeep.domain.json import JsonObject
from chatkeep.domain.message import Message
from chatkeep.domain.run import Run
from chatkeep.store import messages
from chatkeep.store.driver import Place, Row, Transaction, Value
from chatkeep.store.rows import read_json, write_json


@dataclass(frozen=True, slots=True)
class Told:
    """What an event tells; the fields are those of `Event`."""

    kind: EventKind
    run_id: RunId | None = None
    message: Message | None = None
    text: str | None = None
    chat: JsonObject | None = None
    data: JsonObject | None = None


async def append(tx: Transaction, chat_id: ChatId, seq: int, at: int, told: Told) -> Event:
    """Write an event under the sequence that its change of the chat has returned, and have it told."""
    assert tx.organisation_id is not None
    message = told.message
    kept = {"chat": told.chat, "data": told.data, "said": _said(message)}
    row: dict[str, Value] = {
        "chat_id": chat_id,
        "seq": seq,
        "at": at,
        "kind": told.kind,
        "run_id": told.run_id,
        "message_seq": None if message is None else message.seq,
        "text": told.text,
        "data": write_json({name: value for name, value in kept.items() if value is not None} or None),
    }
    await tx.put("event_insert", [row])
    event = Event(
        organisation_id=tx.organisation_id,
        chat_id=chat_id,
        seq=seq,
        at=at,
        kind=told.kind,
        run_id=told.run_id,
        message=message,
        text=told.text,
        chat=told.chat,
        data=told.data,
    )
    tx.announce(event)
    return event


def _said(message: Message | None) -> JsonObject | None:
    # A message is stored once; only of one that is still growing must be kept what it was at this moment.
    if message is None or message.status != "generating":
        return None
    return {name: getattr(message, name) for name in _GROWS}


_GROWS = (
    "content",
    "model_id",
    "input_tokens",
    "output_tokens",
    "cost",
    "response_time_ms",
    "tool_calls",
    "sources",
)
"""What else than its status and error the end of an answer changes."""


async def keep_said(tx: Transaction, message: Message) -> None:
    """Before a message changes: the events that name it go on telling what it was."""
    said = {name: getattr(message, name) for name in ("status", "error", *_GROWS)}
    for seq, raw in await tx.all("events_of_message", chat_id=message.chat_id, message_seq=message.seq):
        kept = {"said": said, **(read_json(raw) or {})}
        await tx.run("event_keep", chat_id=message.chat_id, seq=seq, data=write_json(kept))


async def after(
    tx: Transaction, organisation_id: OrganisationId, chat_id: ChatId, seq: int, limit: int
) -> list[Event]:
    """Up to `limit` events after `seq`, in order."""
    rows = await tx.all("events_after", chat_id=chat_id, seq=seq, row_limit=limit)
    named = [row[4] for row in rows if row[4] is not None]
    found = await messages.by_seq(tx, chat_id, named) if named else {}
    return [_event(organisation_id, chat_id, row, found) for row in rows]


@dataclass(frozen=True, slots=True)
class Head:
    """How far a journal goes, and up to where its deltas are folded away."""

    seq: int
    folded_to: int


async def head(tx: Transaction, chat_id: ChatId) -> Head | None:
    """Where the journal ends, or None without the chat."""
    row = await tx.one("events_head", chat_id=chat_id)
    return None if row is None else Head(*row)


async def heads(tx: Transaction, places: Sequence[Place]) -> list[tuple[Place, int]]:
    """Where the journals of these chats end (system work); those that are gone are left out."""
    row = await tx.one("system_events_heads", places=write_json(places))
    assert row is not None
    return [((OrganisationId(of), ChatId(chat)), seq) for of, chat, seq in read_json(row[0]) or ()]


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of one run, for `append_deltas`."""

    run: Run
    kind: EventKind
    text: str


async def append_deltas(tx: Transaction, deltas: Sequence[Delta], *, now: int) -> set[int]:
    """One tick of all streams (system work), at most one piece a chat. Returns which were refused, by their place:
    where the lease is another's, or the run is over or shall stop.
    """
    chats = write_json([_place_of(each) for each in deltas])
    await tx.run("system_deltas_advance", chats=chats)
    said = [[each.run.organisation_id, each.run.id, each.run.epoch, each.kind, each.text] for each in deltas]
    row = await tx.one("system_deltas_append", at=now, deltas=write_json(said), chats=chats)
    assert row is not None
    seqs = {(organisation_id, chat_id): seq for organisation_id, chat_id, seq in read_json(row[0]) or ()}
    refused = set()
    for number, each in enumerate(deltas):
        seq = seqs.get(_place_of(each))
        if seq is None:
            refused.add(number)
        else:
            tx.announce(Event(*_place_of(each), seq, now, each.kind, each.run.id, text=each.text))
    if refused:
        withdrawn = write_json([_place_of(deltas[number]) for number in refused])
        await tx.run("system_deltas_withdraw", chats=withdrawn)
    return refused


def _place_of(delta: Delta) -> Place:
    return delta.run.organisation_id, delta.run.chat_id


async def fold(tx: Transaction, *, before: int, limit: int) -> int:
    """Drop the pieces of answers of up to `limit` runs that ended before then (system work); how many runs."""
    rows = await tx.all("system_runs_to_fold", before=before, row_limit=limit)
    for organisation_id, run_id, chat_id, first_seq, last_seq in rows:
        of_run = {"of_organisation": organisation_id, "run_id": run_id}
        dropped = await tx.run(
            "system_run_fold", chat_id=chat_id, first_seq=first_seq, last_seq=last_seq, **of_run
        )
        if dropped:
            await tx.run(
                "system_chat_folded", of_organisation=organisation_id, chat_id=chat_id, seq=last_seq - 1
            )
        await tx.run("system_run_folded", **of_run)
    return len(rows)


def _event(organisation_id: OrganisationId, chat_id: ChatId, row: Row, found: dict[int, Message]) -> Event:
    seq, at, kind, run_id, message_seq, text, raw = row
    kept = read_json(raw) or {}
    message = found.get(message_seq)
    if message is not None and "said" in kept:
        message = replace(message, **{"status": "generating", "error": None, **kept["said"]})
    return Event(
        organisation_id, chat_id, seq, at, kind, run_id, message, text, kept.get("chat"), kept.get("data")
    )
