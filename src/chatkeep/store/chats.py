"""Rows of chats as domain values. Called by services inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from chatkeep.domain.chat import Chat, ChatAccess, ChatFilter, ChatStatus, SessionState
from chatkeep.domain.ids import ChatId, FolderId, MessageId, ModelId, PrincipalId, RunId, ShareId
from chatkeep.domain.json import JsonObject, JsonValue
from chatkeep.domain.message import Message
from chatkeep.domain.principal import Principal
from chatkeep.domain.text import tag_id
from chatkeep.store import events
from chatkeep.store.driver import Row, Transaction, Value
from chatkeep.store.events import Told
from chatkeep.store.rows import read_json, write_json

LATEST = (2**62, "\x7f")
_FIELDS = tuple(field.name for field in fields(Chat))  # the statements name their columns in this order
_UNSEEN = {
    "organisation_id",
    "id",
    "owner_name",
    "owner_external_id",
    "extra",
    "last_seq",
    "is_branched",
    "version",
}
_JOURNALLED = tuple(name for name in _FIELDS if name not in _UNSEEN)


@dataclass(frozen=True, slots=True)
class Standing:
    """How generating stands in a chat; a `model_id` becomes the chat's."""

    status: ChatStatus | None
    error: str | None = None
    model_id: ModelId | None = None


@dataclass(slots=True)
class Appending:
    """What an append reads of the chat and moves."""

    chat_id: ChatId
    access: ChatAccess
    title: str | None
    status: ChatStatus | None
    session_state: SessionState
    current_message_id: MessageId | None
    last_seq: int
    is_branched: bool
    message_count: int
    updated_at: int


async def access(tx: Transaction, chat_id: ChatId) -> ChatAccess | None:
    """The point query behind every conditional read."""
    row = await tx.one("chat_access", id=chat_id)
    return None if row is None else ChatAccess(*row)


async def is_shared_with(tx: Transaction, chat_id: ChatId, principal_id: PrincipalId) -> bool:
    """Whether the chat's list of people names this one."""
    return await tx.one("chat_is_shared_with", chat_id=chat_id, principal_id=principal_id) is not None


async def get(tx: Transaction, chat_id: ChatId) -> Chat | None:
    """The whole chat, also a deleted or expired one."""
    row = await tx.one("chat_get", id=chat_id)
    return None if row is None else _chat(row)


async def page(
    tx: Transaction,
    principal: Principal,
    chosen: ChatFilter,
    *,
    now: int,
    before: tuple[int, str],
    limit: int,
) -> list[Chat]:
    """Chats the principal may read, latest change first, strictly before the position `before`."""
    values = _filter_values(principal, chosen, now)
    values.update(before_updated_at=before[0], before_id=before[1], row_limit=limit)
    if chosen.owner_id is not None:
        return [_chat(row) for row in await tx.all("chats_of_owner", owner_id=chosen.owner_id, **values)]
    return [_chat(row) for row in await tx.all("chats_readable", **values)]


async def by_age(
    tx: Transaction, principal: Principal, owner_id: PrincipalId, *, now: int, offset: int, limit: int
) -> list[Chat]:
    """Chats of one owner that the principal may read, the newest first."""
    rows = await tx.all(
        "chats_of_owner_by_age",
        owner_id=owner_id,
        principal_id=principal.id,
        sees_all=principal.is_administrator,
        now=now,
        row_offset=offset,
        row_limit=limit,
    )
    return [_chat(row) for row in rows]


async def count(tx: Transaction, principal: Principal, chosen: ChatFilter, *, now: int) -> int:
    """How many chats `page` goes through in all."""
    values = _filter_values(principal, chosen, now)
    if chosen.owner_id is not None:
        row = await tx.one("chats_of_owner_count", owner_id=chosen.owner_id, **values)
    else:
        row = await tx.one("chats_readable_count", **values)
    assert row is not None
    return int(row[0])


async def insert(tx: Transaction, chat: Chat) -> None:
    """Write a new chat without messages, its tags and its people."""
    await tx.run(
        "chat_insert",
        id=chat.id,
        owner_id=chat.owner_id,
        dialect=chat.dialect,
        model_id=chat.model_id,
        agent_id=chat.agent_id,
        title=chat.title,
        system_prompt=chat.system_prompt,
        metadata=write_json(chat.metadata),
        extra=write_json(chat.extra),
        origin=chat.origin,
        source=chat.source,
        visibility=chat.visibility,
        pinned=chat.pinned,
        archived=chat.archived,
        folder_id=chat.folder_id,
        tags=write_json(chat.tags),
        shared_with=write_json(chat.shared_with),
        expires_at=chat.expires_at,
        created_at=chat.created_at,
    )
    await _index(tx, chat)
    await events.append(tx, chat.id, 1, chat.created_at, Told("chat.created", chat=_journalled(chat)))


async def update(tx: Transaction, chat: Chat, *, before: Chat) -> None:
    """Write what `ChatChanges` may change; the version moves by one."""
    await _moved(
        tx,
        "chat_update",
        chat.id,
        chat.updated_at,
        Told("chat.updated", chat=_changed(before, chat)),
        title=chat.title,
        system_prompt=chat.system_prompt,
        metadata=write_json(chat.metadata),
        extra=write_json(chat.extra),
        model_id=chat.model_id,
        visibility=chat.visibility,
        tags=write_json(chat.tags),
        shared_with=write_json(chat.shared_with),
        folder_id=chat.folder_id,
        pinned=chat.pinned,
        archived=chat.archived,
        session_state=chat.session_state,
        end_reason=chat.end_reason,
        current_message_id=chat.current_message_id,
        is_branched=chat.is_branched,
        message_count=chat.message_count,
        updated_at=chat.updated_at,
    )
    if chat.tags != before.tags or chat.shared_with != before.shared_with:
        await tx.run("chat_tags_clear", chat_id=chat.id)
        await tx.run("chat_people_clear", chat_id=chat.id)
        await _index(tx, chat)


async def appending(tx: Transaction, chat_id: ChatId) -> Appending | None:
    """What an append must know of the chat."""
    row = await tx.one("chat_appending", id=chat_id)
    return None if row is None else Appending(chat_id, ChatAccess(*row[:6]), *row[6:])


async def appended(
    tx: Transaction, state: Appending, written: Sequence[Message], *, run_id: RunId | None = None
) -> None:
    """Write the moved head and counters after an append, and an event for each message."""
    chat_id = state.chat_id
    moved: JsonObject = {
        "title": state.title,
        "current_message_id": state.current_message_id,
        "message_count": state.message_count,
        "last_message_at": written[-1].created_at,
        "updated_at": state.updated_at,
    }
    row = await tx.one(
        "chat_appended",
        id=chat_id,
        last_seq=state.last_seq,
        is_branched=state.is_branched,
        events=len(written),
        **moved,  # type: ignore[arg-type]  # the values above
    )
    assert row is not None
    version = row[0] - len(written)
    for message in written:
        version += 1
        chat = moved if message is written[-1] else None
        await events.append(
            tx,
            chat_id,
            version,
            state.updated_at,
            Told("message.created", run_id=run_id, message=message, chat=chat),
        )


async def set_status(
    tx: Transaction,
    chat_id: ChatId,
    standing: Standing,
    *,
    now: int,
    count: int = 1,
) -> tuple[int, JsonObject]:
    """Move the status with room for `count` events of the caller's: the last one's sequence, and what moved."""
    moved: JsonObject = {
        "status": standing.status,
        "last_error": standing.error,
        "last_error_at": None if standing.error is None else now,
        "updated_at": now,
    }
    model_id = standing.model_id
    row = await tx.one("chat_set_status", id=chat_id, model_id=model_id, events=count, **moved)  # type: ignore[arg-type]  # the values above
    assert row is not None
    return row[0], moved if model_id is None else {**moved, "model_id": model_id}


async def advance(tx: Transaction, chat_id: ChatId, count: int) -> int:
    """Room for `count` events that move nothing else of the chat: the last one's sequence."""
    row = await tx.one("chat_advance", id=chat_id, events=count)
    assert row is not None
    return int(row[0])


async def give_title(tx: Transaction, chat_id: ChatId, title: str, *, before: str, now: int) -> bool:
    """Put a model's title in place of `before`; False where that is not the title any more."""
    row = await tx.one("chat_give_title", id=chat_id, title=title, before=before)
    if row is None:
        return False
    await events.append(tx, chat_id, row[0], now, Told("chat.titled", chat={"title": title}))
    return True


async def soft_delete(tx: Transaction, chat_id: ChatId, by: PrincipalId, *, now: int) -> None:
    """Hide the chat from everybody."""
    moved: JsonObject = {"deleted_at": now, "deleted_by": by, "updated_at": now}
    await _moved(
        tx, "chat_soft_delete", chat_id, now, Told("chat.deleted", chat=moved), now=now, deleted_by=by
    )


async def restore(tx: Transaction, chat_id: ChatId, *, now: int) -> None:
    """Undo `soft_delete`."""
    moved: JsonObject = {"deleted_at": None, "deleted_by": None, "updated_at": now}
    await _moved(tx, "chat_restore", chat_id, now, Told("chat.restored", chat=moved), now=now)


async def counted_document(tx: Transaction, chat_id: ChatId, change: int, *, now: int) -> None:
    """Count a document on or off."""
    row = await tx.one("document_count", chat_id=chat_id, change=change, updated_at=now)
    assert row is not None
    moved: JsonObject = {"documents_count": row[1], "updated_at": now}
    await events.append(tx, chat_id, row[0], now, Told("chat.updated", chat=moved))


async def mark_share(tx: Transaction, chat_id: ChatId, share_id: ShareId | None, *, now: int) -> None:
    """Note the id under which the chat is shared, or that it is not."""
    row = await tx.one("share_mark", chat_id=chat_id, share_id=share_id, updated_at=now)
    assert row is not None
    moved: JsonObject = {"share_id": share_id, "updated_at": now}
    await events.append(tx, chat_id, row[0], now, Told("chat.updated", chat=moved))


async def empty_folder(tx: Transaction, folder_id: FolderId, *, now: int) -> None:
    """Take all chats out of a folder."""
    moved: JsonObject = {"folder_id": None, "updated_at": now}
    for chat_id, version in await tx.all("folder_empty", id=folder_id, updated_at=now):
        await events.append(tx, chat_id, version, now, Told("chat.updated", chat=moved))


async def purge_expired(tx: Transaction, *, now: int, limit: int) -> int:
    """Delete up to `limit` ephemeral chats past their time, with all that is theirs (system work); how many."""
    rows = await tx.all("system_chats_expired", now=now, row_limit=limit)
    for organisation_id, chat_id in rows:
        await tx.run("system_chat_purge_expired", of_organisation=organisation_id, id=chat_id, now=now)
    return len(rows)


async def purge_deleted(tx: Transaction, *, before: int, limit: int) -> int:
    """Delete for good up to `limit` chats that were soft-deleted before then (system work); how many."""
    rows = await tx.all("system_chats_deleted", before=before, row_limit=limit)
    for organisation_id, chat_id in rows:
        await tx.run("system_chat_purge_deleted", of_organisation=organisation_id, id=chat_id, before=before)
    return len(rows)


async def _moved(
    tx: Transaction, statement: str, chat_id: ChatId, at: int, told: Told, **values: Value
) -> None:
    row = await tx.one(statement, id=chat_id, **values)
    assert row is not None, "the chat was looked at in this transaction"
    await events.append(tx, chat_id, row[0], at, told)


def _journalled(chat: Chat) -> JsonObject:
    return {name: _plain(getattr(chat, name)) for name in _JOURNALLED}


def _changed(before: Chat, after: Chat) -> JsonObject:
    names = [name for name in _JOURNALLED if getattr(before, name) != getattr(after, name)]
    return {name: _plain(getattr(after, name)) for name in names}


def _plain(value: Any) -> JsonValue:
    plain: JsonValue = list(value) if isinstance(value, tuple) else value
    return plain


async def _index(tx: Transaction, chat: Chat) -> None:
    for position, name in enumerate(chat.tags):
        await tx.run("chat_tag_insert", chat_id=chat.id, tag_id=tag_id(name), name=name, position=position)
    for principal_id in chat.shared_with:
        await tx.run("chat_people_insert", chat_id=chat.id, principal_id=principal_id)


def _filter_values(principal: Principal, chosen: ChatFilter, now: int) -> dict[str, Value]:
    return {
        "principal_id": principal.id,
        "sees_all": principal.is_administrator,
        "archived": chosen.archived,
        "pinned": chosen.pinned,
        "folder_id": chosen.folder_id,
        "model_id": chosen.model_id,
        "agent_id": chosen.agent_id,
        "dialect": chosen.dialect,
        "tag_id": None if chosen.tag is None else tag_id(chosen.tag),
        "is_deleted": chosen.is_deleted,
        "now": now,
    }


def _chat(row: Row) -> Chat:
    values = dict(zip(_FIELDS, row, strict=True))
    values["owner_name"] = values["owner_name"] or ""
    for name in ("metadata", "extra"):
        values[name] = read_json(values[name])
    for name in ("is_branched", "pinned", "archived"):
        values[name] = bool(values[name])
    for name in ("tags", "shared_with"):
        values[name] = tuple(read_json(values[name]))
    return Chat(**values)
