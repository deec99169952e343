"""Rows of shares as domain values."""

from __future__ import annotations

from chatkeep.domain.ids import ChatId, ShareId
from chatkeep.domain.share import Share
from chatkeep.store import chats
from chatkeep.store.driver import Transaction
from chatkeep.store.rows import read_json, write_json


async def put(tx: Transaction, share: Share, *, is_new: bool) -> None:
    """Write or refresh the snapshot and mark the chat."""
    values = {"id": share.id, "snapshot": write_json(share.snapshot), "updated_at": share.updated_at}
    if is_new:
        await tx.run("share_insert", chat_id=share.chat_id, **values)
    else:
        await tx.run("share_refresh", **values)
    await chats.mark_share(tx, share.chat_id, share.id, now=share.updated_at)


async def get(tx: Transaction, share_id: ShareId) -> Share | None:
    """One share."""
    row = await tx.one("share_get", id=share_id)
    return None if row is None else Share(row[0], row[1], read_json(row[2]), row[3], row[4])


async def delete(tx: Transaction, chat_id: ChatId, *, now: int) -> bool:
    """Remove the chat's share; whether there was one."""
    if not await tx.run("share_delete", chat_id=chat_id):
        return False
    await chats.mark_share(tx, chat_id, None, now=now)
    return True
