"""Chats: create, get, list, change, delete, restore. Source of the fields: contracts/union_model.md U1.4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from chatkeep.domain.chat import Chat, ChatAccess, ChatChanges, ChatFilter, ChatThread, NewChat, Unset
from chatkeep.domain.errors import AlreadyExists, ChatInUse, InvalidField, NotFound, VersionMismatch
from chatkeep.domain.ids import ChatId, MessageId
from chatkeep.domain.message import NewMessage
from chatkeep.domain.page import Page, Slice, read_cursor, write_cursor
from chatkeep.domain.text import US, check_text
from chatkeep.services import access, appending, chat_rules, leases, nodes, people
from chatkeep.services.context import Context
from chatkeep.store import chats, messages, principals
from chatkeep.store.driver import Transaction

Versions: TypeAlias = frozenset[tuple[int, int]]
"""What a change may be made to: when the chat was made and its version, as an id may come again."""

TTL_S_MAX = 366 * 24 * 3600
"""Of an ephemeral chat. Longer is not ephemeral, and a time must stay one that a calendar can write."""


async def create(
    ctx: Context, new: NewChat, said: Sequence[NewMessage] = (), *, head: MessageId | None = None
) -> ChatThread:
    """Make a chat, with messages if given, in one transaction.

    Raises `AlreadyExists` for a taken id, `InvalidField` for unknown model, folder or people and for texts over their
    limits. Without a model the organisation's first one that can answer is taken.
    """
    check_new(ctx, new, said)

    async def body(tx: Transaction) -> ChatThread:
        return await create_in(tx, ctx, new, said, head=head)

    return await ctx.write(body)


async def create_for(ctx: Context, new: NewChat, user_id: str) -> ChatThread:
    """`create` for the person the tenant knows as `user_id`, who is made in the same transaction when new.

    Raises also `NotAllowed` when a caller who is no administrator names somebody else.
    """
    check_new(ctx, new)

    async def body(tx: Transaction) -> ChatThread:
        owner, _ = await people.meant(tx, ctx, user_id)
        return await create_in(tx, ctx, replace(new, owner_id=owner.id))

    return await ctx.write(body)


def check_new(
    ctx: Context, new: NewChat, said: Sequence[NewMessage] = (), *, scope: str = "chat:write"
) -> None:
    """What can be said about a new chat without looking into the store. Raises `InvalidField`, `MissingScope`."""
    ctx.principal.require(scope)
    chat_rules.check_texts(ctx, new.title, new.system_prompt, new.metadata)
    appending.check_said(ctx, said)
    if new.origin in ("m2m", "connector") and ctx.principal.kind != "service":
        raise InvalidField("origin", f"only a service may create chats as '{new.origin}'")
    if new.ttl_s is not None and not 1 <= new.ttl_s <= TTL_S_MAX:
        raise InvalidField("ttl_s", f"must be 1 to {TTL_S_MAX} seconds")
    if new.id is not None and not chat_rules.is_segment(new.id):
        raise InvalidField("id", "must be 1 to 128 letters, digits or any of ._:@+=- and not be . or ..")


async def create_in(
    tx: Transaction,
    ctx: Context,
    new: NewChat,
    said: Sequence[NewMessage] = (),
    *,
    head: MessageId | None = None,
) -> ChatThread:
    """The part of `create` that belongs into the transaction, for verbs that do more in it."""
    chat = await _new_chat(tx, ctx, new)
    if await chats.access(tx, chat.id) is not None:
        raise AlreadyExists("A chat with this id exists already.")
    await chats.insert(tx, chat)
    written = []
    if said:
        state = await chats.appending(tx, chat.id)
        assert state is not None
        written = await appending.append_to(tx, ctx.system, state, said, head=head)
    stored = await chats.get(tx, chat.id)
    assert stored is not None
    return ChatThread(stored, written)


async def peek(ctx: Context, chat_id: ChatId, *, scope: str = "chat:read") -> ChatAccess:
    """Access and version of a chat by one point read at most. Raises `NotFound`."""
    principal = ctx.principal
    principal.require(scope)
    access.check_id(chat_id)

    async def body(tx: Transaction) -> ChatAccess | None:
        found = await chats.access(tx, chat_id)
        return found if found is not None and await access.sees(tx, principal, chat_id, found) else None

    key = (chat_id, principal.organisation_id, principal.id, principal.role)
    found = await ctx.system.store.recall(principal.organisation_id, key, body)
    is_generating = found is not None and found.status == "generating"
    if is_generating and await leases.settle_chat(ctx.system, principal.organisation_id, chat_id):
        found = await ctx.peek(body)
    if found is None or found.is_gone(ctx.now_us()):
        raise NotFound(access.NOUN)
    return found


async def get(ctx: Context, chat_id: ChatId) -> Chat:
    """One chat without its messages. Raises `NotFound`."""
    ctx.principal.require("chat:read")
    access.check_id(chat_id)
    await leases.settle_before(ctx, chat_id)

    async def body(tx: Transaction) -> Chat:
        await access.readable(tx, ctx, chat_id)
        return await _existing(tx, chat_id)

    return await ctx.peek(body)


async def read(ctx: Context, chat_id: ChatId, *, with_deleted: bool = False) -> ChatThread:
    """One chat with all its messages, as of one moment; administrators may ask for a deleted one too.

    Raises `NotFound`.
    """
    ctx.principal.require("chat:read")
    if with_deleted:
        ctx.principal.require("org:admin")
    access.check_id(chat_id)
    await leases.settle_before(ctx, chat_id)

    async def body(tx: Transaction) -> ChatThread:
        if not with_deleted:
            await access.readable(tx, ctx, chat_id)
        elif (found := await chats.access(tx, chat_id)) is None or found.is_expired(ctx.now_us()):
            raise NotFound(access.NOUN)
        return ChatThread(await _existing(tx, chat_id), await messages.of_chat(tx, chat_id))

    return await ctx.read(body)


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of chats and how many there are in all, both as of one moment."""

    page: Page[Chat]
    total_count: int


async def list_chats(ctx: Context, chosen: ChatFilter, *, cursor: str | None, limit: int) -> Listing:
    """Chats the caller may read, latest change first; deleted ones for those who may restore. Raises `BadCursor`,
    `InvalidField`.
    """
    ctx.principal.require("chat:read")
    if chosen.tag is not None:
        check_text("tag", chosen.tag)
    before = chats.LATEST
    if cursor is not None:
        updated_at, chat_id = read_cursor(cursor, int, str)
        before = (int(updated_at), str(chat_id))

    async def body(tx: Transaction) -> Listing:
        now = ctx.now_us()
        rows = await chats.page(tx, ctx.principal, chosen, now=now, before=before, limit=limit + 1)
        total = await chats.count(tx, ctx.principal, chosen, now=now)
        items = rows[:limit]
        after = write_cursor(items[-1].updated_at, items[-1].id) if len(rows) > limit else None
        return Listing(Page(items, after), total)

    return await ctx.read(body)


async def list_of(ctx: Context, user_id: str, *, newest_first: bool, offset: int, limit: int) -> Slice[Chat]:
    """Chats of the person the tenant knows as `user_id` that the caller may read, by when they were made, as of one
    moment. Raises `NotFound` for somebody unknown, and `NotAllowed`.
    """
    ctx.principal.require("chat:read")

    async def body(tx: Transaction) -> Slice[Chat]:
        now, owner = ctx.now_us(), await people.known(tx, ctx, user_id)
        if owner is None:
            raise NotFound("User")
        total = await chats.count(tx, ctx.principal, ChatFilter(owner.id), now=now)
        # Oldest first is the same list from its other end.
        after = offset if newest_first else max(total - offset - limit, 0)
        count = max(min(limit, total - offset), 0)
        items = await chats.by_age(tx, ctx.principal, owner.id, now=now, offset=after, limit=count)
        return Slice(items if newest_first else items[::-1], total)

    return await ctx.read(body)


async def update(
    ctx: Context, chat_id: ChatId, changes: ChatChanges, *, if_version: Versions | None = None
) -> Chat:
    """Change what `changes` names. Raises `NotFound`, `NotAllowed`, `VersionMismatch`, `InvalidField`."""
    _check_changes(ctx, chat_id, changes)

    async def body(tx: Transaction) -> Chat:
        return await _update_in(tx, ctx, chat_id, changes, if_version)

    return await ctx.write(body, about=chat_id)


async def update_thread(
    ctx: Context, chat_id: ChatId, changes: ChatChanges, *, if_version: Versions | None = None
) -> ChatThread:
    """`update`, for dialects that answer with the whole chat: its messages as of the same transaction."""
    _check_changes(ctx, chat_id, changes)

    async def body(tx: Transaction) -> ChatThread:
        chat = await _update_in(tx, ctx, chat_id, changes, if_version)
        return ChatThread(chat, await messages.of_chat(tx, chat_id))

    return await ctx.write(body, about=chat_id)


async def delete(ctx: Context, chat_id: ChatId, *, if_version: Versions | None = None) -> None:
    """Soft delete: nobody reads it any more, `restore` brings it back. Raises `NotFound`, also the second time."""
    ctx.principal.require("chat:write")
    access.check_id(chat_id)

    async def body(tx: Transaction) -> None:
        found = await access.changeable(tx, ctx, chat_id)
        _check_version(found, if_version)
        await chats.soft_delete(tx, chat_id, ctx.principal.id, now=ctx.now_us())

    await ctx.write(body, about=chat_id)


async def purge(ctx: Context, chat_id: ChatId, *, is_unused: bool = False) -> int:
    """Delete for ever, with messages, documents, shares and runs; when that was. `is_unused`: only if it has no open
    WebSocket of those that are counted by chat. Raises `NotFound`, `NotAllowed`, `ChatInUse`.
    """
    ctx.principal.require("chat:write")
    access.check_id(chat_id)

    async def body(tx: Transaction) -> int:
        await access.changeable(tx, ctx, chat_id)
        if is_unused and await nodes.sockets_in(tx, ctx.system, chat_id):
            raise ChatInUse()
        await tx.run("chat_purge", id=chat_id)
        return ctx.now_us()

    return await ctx.write(body, about=chat_id)


async def restore(ctx: Context, chat_id: ChatId) -> Chat:
    """Undo a soft delete. Raises `NotFound` when there is no deleted chat of this id that the caller manages."""
    ctx.principal.require("chat:write")
    access.check_id(chat_id)

    async def body(tx: Transaction) -> Chat:
        found = await chats.access(tx, chat_id)
        if found is None or found.deleted_at is None or not found.is_managed_by(ctx.principal):
            raise NotFound(access.NOUN)
        if found.is_expired(ctx.now_us()):
            raise NotFound(access.NOUN)
        await chats.restore(tx, chat_id, now=ctx.now_us())
        return await _existing(tx, chat_id)

    return await ctx.write(body, about=chat_id)


def _check_changes(ctx: Context, chat_id: ChatId, changes: ChatChanges) -> None:
    ctx.principal.require("chat:write")
    access.check_id(chat_id)
    chat_rules.check_texts(ctx, changes.title, changes.system_prompt, changes.metadata)


async def _update_in(
    tx: Transaction, ctx: Context, chat_id: ChatId, changes: ChatChanges, if_version: Versions | None
) -> Chat:
    found = await access.changeable(tx, ctx, chat_id)
    _check_version(found, if_version)
    before = await _existing(tx, chat_id)
    after = await _changed(tx, ctx, before, changes)
    if after != before:
        await chats.update(tx, replace(after, updated_at=ctx.now_us()), before=before)
    return await _existing(tx, chat_id)


async def _existing(tx: Transaction, chat_id: ChatId) -> Chat:
    chat = await chats.get(tx, chat_id)
    assert chat is not None, "access was checked in this transaction"
    return chat


def _check_version(found: ChatAccess, if_version: Versions | None) -> None:
    if if_version is not None and (found.created_at, found.version) not in if_version:
        raise VersionMismatch()


async def _new_chat(tx: Transaction, ctx: Context, new: NewChat) -> Chat:
    now = ctx.now_us()
    owner_id = new.owner_id or ctx.principal.id
    owner = await principals.get(tx, owner_id)
    assert owner is not None, "an owner is the caller or was found by the dialect"
    if new.folder_id is not None:
        await chat_rules.check_folder(tx, new.folder_id, owner_id)
    return Chat(
        organisation_id=ctx.principal.organisation_id,
        id=new.id or ChatId(ctx.system.entropy.uuid7()),
        owner_id=owner_id,
        owner_name=owner.name,
        owner_external_id=owner.external_id,
        dialect=new.dialect,
        model_id=await chat_rules.model(tx, ctx, new.model_id),
        agent_id=new.agent_id,
        title=new.title,
        system_prompt=new.system_prompt,
        metadata=new.metadata,
        extra=new.extra,
        origin=new.origin or ctx.principal.origin,
        source=new.source,
        visibility=new.visibility,
        status=None,
        last_error=None,
        last_error_at=None,
        session_state="ongoing",
        end_reason=None,
        current_message_id=None,
        last_seq=0,
        is_branched=False,
        message_count=0,
        documents_count=0,
        last_message_at=None,
        pinned=new.pinned,
        archived=new.archived,
        folder_id=new.folder_id,
        share_id=None,
        expires_at=None if new.ttl_s is None else now + new.ttl_s * US,
        deleted_at=None,
        deleted_by=None,
        created_at=now,
        updated_at=now,
        version=1,
        tags=chat_rules.tags(ctx, new.tags),
        shared_with=await chat_rules.people(tx, ctx, new.shared_with),
    )


async def _changed(tx: Transaction, ctx: Context, chat: Chat, changes: ChatChanges) -> Chat:
    plain = {
        name: value
        for name in (
            "title",
            "system_prompt",
            "metadata",
            "visibility",
            "pinned",
            "archived",
            "session_state",
        )
        if not isinstance(value := getattr(changes, name), Unset)
    }
    after = replace(chat, **plain)
    if not isinstance(changes.model_id, Unset):
        after = replace(after, model_id=await chat_rules.model(tx, ctx, changes.model_id))
    if not isinstance(changes.tags, Unset):
        after = replace(after, tags=chat_rules.tags(ctx, changes.tags))
    if not isinstance(changes.shared_with, Unset):
        after = replace(after, shared_with=await chat_rules.people(tx, ctx, changes.shared_with))
    if not isinstance(changes.folder_id, Unset):
        if changes.folder_id is not None:
            await chat_rules.check_folder(tx, changes.folder_id, chat.owner_id)
        after = replace(after, folder_id=changes.folder_id)
    if not isinstance(changes.current_message_id, Unset):
        turn = await messages.turn_number(tx, chat.id, changes.current_message_id)
        if turn is None:
            raise InvalidField("current_message_id", "no such message in this chat")
        if changes.current_message_id != chat.current_message_id:
            # The path to the current message is no longer all messages in the order they were written.
            moved_to = changes.current_message_id
            after = replace(after, current_message_id=moved_to, message_count=turn, is_branched=True)
    return after
