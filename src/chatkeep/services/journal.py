"""Reading a chat's journal: what comes after a cursor, or a picture of the chat where events are folded away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatkeep.domain.chat import Chat
from chatkeep.domain.errors import NotFound
from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId
from chatkeep.domain.message import Message
from chatkeep.domain.run import Run
from chatkeep.services import access
from chatkeep.services.context import Context, System
from chatkeep.store import chats, events, messages, runs
from chatkeep.store.driver import Place, Transaction

PAGE = 200
SNAPSHOT_MESSAGES = 100
LAST = 2**62


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A chat as of one moment, for readers whose cursor knows nothing of it: everything after `seq` follows.

    `messages` are the newest ones in the order they were written, unfinished answers with all they have said so far;
    `has_more` tells that there are older ones. `runs` are those under way: which answer their pieces belong to.
    """

    chat: Chat
    messages: list[Message]
    has_more: bool
    runs: list[Run]

    @property
    def seq(self) -> int:
        """The last event that is in it."""
        return self.chat.version


Batch = Snapshot | list[Event]


async def snapshot(ctx: Context, chat_id: ChatId) -> Snapshot:
    """The chat as it is now. Raises `NotFound`."""
    ctx.principal.require("chat:read")
    access.check_id(chat_id)

    async def body(tx: Transaction) -> Snapshot:
        await access.readable(tx, ctx, chat_id)
        return await _snapshot(tx, chat_id)

    return await ctx.read(body)


async def after(ctx: Context, chat_id: ChatId, seq: int, *, scope: str = "chat:read") -> Batch:
    """Up to `PAGE` events after `seq`, none if there are none yet; a snapshot where some of them are folded away, and
    where `seq` is beyond the journal's end. Raises `NotFound`.
    """
    ctx.principal.require(scope)
    access.check_id(chat_id)

    async def body(tx: Transaction) -> Batch:
        await access.readable(tx, ctx, chat_id)
        head = await events.head(tx, chat_id)
        assert head is not None
        if seq < head.folded_to or seq > head.seq:
            return await _snapshot(tx, chat_id)
        if seq == head.seq:
            return []
        return await events.after(tx, ctx.principal.organisation_id, chat_id, seq, PAGE)

    return await ctx.peek(body)


async def heads(system: System, places: Sequence[Place]) -> list[tuple[Place, int]]:
    """Where the journals of these chats end: for whoever wakes their readers, who look at them as who they are."""

    async def body(tx: Transaction) -> list[tuple[Place, int]]:
        return await events.heads(tx, places)

    return await system.store.peek(None, body)


async def _snapshot(tx: Transaction, chat_id: ChatId) -> Snapshot:
    chat = await chats.get(tx, chat_id)
    if chat is None:
        raise NotFound(access.NOUN)
    newest = await messages.before(tx, chat_id, LAST, SNAPSHOT_MESSAGES + 1)
    shown = newest[:SNAPSHOT_MESSAGES]
    shown.reverse()
    running = await runs.running_in(tx, chat_id) if chat.status == "generating" else []
    return Snapshot(chat, shown, len(newest) > SNAPSHOT_MESSAGES, running)
