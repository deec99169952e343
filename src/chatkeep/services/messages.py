"""Messages of a chat: append and list. Source of the fields: contracts/union_model.md U1.5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from chatkeep.domain.errors import ChatBusy, NotFound, SessionEnded
from chatkeep.domain.ids import ChatId
from chatkeep.domain.message import SPEAKING_ROLES, Message, NewMessage, path_to
from chatkeep.domain.page import Page, Slice, read_cursor, write_cursor
from chatkeep.services import access, appending, leases
from chatkeep.services.context import Context
from chatkeep.store import chats, messages
from chatkeep.store.chats import Appending
from chatkeep.store.driver import Transaction

Direction = Literal["asc", "desc"]
Branch = Literal["path", "all"]


async def append(ctx: Context, chat_id: ChatId, said: Sequence[NewMessage]) -> list[Message]:
    """Write messages without asking a model.

    Raises `NotFound`, `NotAllowed`, `ChatBusy` while an answer is generated, `SessionEnded`, and what
    `appending.append_to` raises.
    """
    ctx.principal.require("chat:write")
    access.check_id(chat_id)
    appending.check_said(ctx, said)

    async def body(tx: Transaction) -> list[Message]:
        state = await open_for_append(tx, ctx, chat_id)
        return await appending.append_to(tx, ctx.system, state, said)

    return await ctx.write(body, about=chat_id)


async def open_for_append(
    tx: Transaction, ctx: Context, chat_id: ChatId, *, while_busy: bool = False
) -> Appending:
    """What an append moves, once it is sure that the caller may append now; `while_busy`: also during an answer."""
    state = await chats.appending(tx, chat_id)
    if state is None or state.access.is_gone(ctx.now_us()):
        raise NotFound(access.NOUN)
    if not state.access.is_managed_by(ctx.principal):
        if not await access.sees(tx, ctx.principal, chat_id, state.access):
            raise NotFound(access.NOUN)
        access.check_change(ctx.principal, state.access)
    if state.status == "generating" and not while_busy:
        raise ChatBusy()
    if state.session_state != "ongoing":
        raise SessionEnded(f"This chat is {state.session_state} and takes no further messages.")
    return state


async def list_messages(
    ctx: Context, chat_id: ChatId, *, branch: Branch, direction: Direction, cursor: str | None, limit: int
) -> Page[Message]:
    """A page of the current path, or of all messages, oldest (`asc`) or newest (`desc`) first. Raises `BadCursor`."""
    ctx.principal.require("chat:read")
    access.check_id(chat_id)
    await leases.settle_before(ctx, chat_id)
    seq = (0 if direction == "asc" else 2**62) if cursor is None else int(read_cursor(cursor, int)[0])

    async def body(tx: Transaction) -> Page[Message]:
        await access.readable(tx, ctx, chat_id)
        chat = await chats.get(tx, chat_id)
        assert chat is not None
        if branch == "path" and chat.is_branched:
            path = path_to(await messages.of_chat(tx, chat_id), chat.current_message_id)
            rows = _after(path, seq) if direction == "asc" else _before(path, seq)
        elif direction == "asc":
            rows = await messages.after(tx, chat_id, seq, limit + 1)
        else:
            rows = await messages.before(tx, chat_id, seq, limit + 1)
        items = rows[:limit]
        return Page(items, write_cursor(items[-1].seq) if len(rows) > limit else None)

    return await ctx.read(body)


async def list_spoken(
    ctx: Context, chat_id: ChatId, *, newest_first: bool, offset: int, limit: int
) -> Slice[Message]:
    """User and assistant messages of the current path by offset, as of one moment. Raises `NotFound`."""
    ctx.principal.require("chat:read")
    access.check_id(chat_id)
    await leases.settle_before(ctx, chat_id)

    async def body(tx: Transaction) -> Slice[Message]:
        await access.readable(tx, ctx, chat_id)
        chat = await chats.get(tx, chat_id)
        assert chat is not None
        if not chat.is_branched:
            items = await messages.speaking(
                tx, chat_id, newest_first=newest_first, offset=offset, limit=limit
            )
            return Slice(items, chat.message_count)
        path = path_to(await messages.of_chat(tx, chat_id), chat.current_message_id)
        spoken = [message for message in path if message.role in SPEAKING_ROLES]
        if newest_first:
            spoken.reverse()
        return Slice(spoken[offset : offset + limit], chat.message_count)

    return await ctx.read(body)


def _after(path: list[Message], seq: int) -> list[Message]:
    return [message for message in path if message.seq > seq]


def _before(path: list[Message], seq: int) -> list[Message]:
    return [message for message in reversed(path) if message.seq < seq]
