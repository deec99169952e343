"""Rows of chats as domain values. Called by services inside a transaction."""

from __future__ import annotations

from dataclasses import dataclass, fields

from chatkeep.domain.chat import Chat, ChatAccess, ChatFilter, ChatStatus, SessionState
from chatkeep.domain.ids import ChatId, MessageId, PrincipalId
from chatkeep.domain.principal import Principal
from chatkeep.domain.text import tag_id
from chatkeep.store.driver import Row, Transaction, Value
from chatkeep.store.rows import read_json, write_json

LATEST = (2**62, "\x7f")
_FIELDS = tuple(field.name for field in fields(Chat))  # the statements name their columns in this order


@dataclass(slots=True)
class Appending:
    """What an append reads of the chat and moves."""

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


async def update(tx: Transaction, chat: Chat) -> None:
    """Write what `ChatChanges` may change; the version moves by one."""
    await tx.run(
        "chat_update",
        id=chat.id,
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
    await tx.run("chat_tags_clear", chat_id=chat.id)
    await tx.run("chat_people_clear", chat_id=chat.id)
    await _index(tx, chat)


async def appending(tx: Transaction, chat_id: ChatId) -> Appending | None:
    """What an append must know of the chat."""
    row = await tx.one("chat_appending", id=chat_id)
    return None if row is None else Appending(ChatAccess(*row[:6]), *row[6:])


async def appended(tx: Transaction, chat_id: ChatId, state: Appending, *, last_message_at: int) -> None:
    """Write the moved head and counters after an append."""
    await tx.run(
        "chat_appended",
        id=chat_id,
        title=state.title,
        current_message_id=state.current_message_id,
        last_seq=state.last_seq,
        is_branched=state.is_branched,
        message_count=state.message_count,
        last_message_at=last_message_at,
        updated_at=state.updated_at,
    )


async def purge_expired(tx: Transaction, *, now: int, limit: int) -> int:
    """Delete up to `limit` ephemeral chats past their time, with all that is theirs (system work); how many."""
    rows = await tx.all("system_chats_expired", now=now, row_limit=limit)
    for organisation_id, chat_id in rows:
        await tx.run("system_chat_purge_expired", of_organisation=organisation_id, id=chat_id, now=now)
    return len(rows)


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
