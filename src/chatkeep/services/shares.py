"""Shares: a chat's title and current path, frozen under an id that everybody in the organisation may read."""

from __future__ import annotations

from chatkeep.domain.chat import ChatThread
from chatkeep.domain.errors import NotFound
from chatkeep.domain.ids import ChatId, ShareId
from chatkeep.domain.json import JsonObject
from chatkeep.domain.share import Share
from chatkeep.domain.text import iso_z
from chatkeep.services import access
from chatkeep.services.context import Context
from chatkeep.store import chats, messages, shares
from chatkeep.store.driver import Transaction

NOUN = "Share"


async def share(ctx: Context, chat_id: ChatId) -> Share:
    """Share the chat as it is now; again keeps the id and takes a new snapshot. Raises `NotFound`, `NotAllowed`."""
    ctx.principal.require("chat:write")
    access.check_id(chat_id)

    async def body(tx: Transaction) -> Share:
        await access.changeable(tx, ctx, chat_id)
        chat = await chats.get(tx, chat_id)
        assert chat is not None
        share_id = chat.share_id or ShareId(ctx.system.entropy.uuid7())
        now = ctx.now_us()
        taken = Share(
            share_id, chat_id, _snapshot(ChatThread(chat, await messages.of_chat(tx, chat_id))), now, now
        )
        await shares.put(tx, taken, is_new=chat.share_id is None)
        stored = await shares.get(tx, share_id)
        assert stored is not None
        return stored

    return await ctx.write(body, about=chat_id)


async def get(ctx: Context, share_id: ShareId) -> Share:
    """The snapshot. Raises `NotFound`."""
    ctx.principal.require("chat:read")
    access.check_id(share_id, NOUN)

    async def body(tx: Transaction) -> Share:
        found = await shares.get(tx, share_id)
        owner = await chats.access(tx, found.chat_id) if found is not None else None
        if found is None or owner is None or owner.is_gone(ctx.now_us()):
            raise NotFound(NOUN)
        return found

    return await ctx.read(body)


async def unshare(ctx: Context, chat_id: ChatId) -> None:
    """Withdraw the share. Raises `NotFound` also when there is none."""
    ctx.principal.require("chat:write")
    access.check_id(chat_id)

    async def body(tx: Transaction) -> None:
        await access.changeable(tx, ctx, chat_id)
        if not await shares.delete(tx, chat_id, now=ctx.now_us()):
            raise NotFound(NOUN)

    await ctx.write(body, about=chat_id)


def _snapshot(thread: ChatThread) -> JsonObject:
    return {
        "title": thread.chat.title,
        "messages": [
            {"id": m.id, "role": m.role, "content": m.content, "created_at": iso_z(m.created_at)}
            for m in thread.path
        ],
    }
