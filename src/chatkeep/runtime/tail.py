"""Following a chat: a cursor over its journal that waits at the end. Never a pipe from the model to a socket.

Resuming, many readers, slow ones, restarts: all follow from that. Events come from the store, or from the bell, which
brings what was just committed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from chatkeep.domain.errors import NotFound
from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId
from chatkeep.domain.limits import Limits
from chatkeep.runtime.bell import Bell, Offer
from chatkeep.runtime.runner import LiveRun
from chatkeep.services import journal
from chatkeep.services.context import Context
from chatkeep.services.generating import Outcome
from chatkeep.services.journal import Batch, Snapshot

Recheck = Callable[[], Awaitable[Context]]
"""Looks again who the reader is: raises when the credential is not good any more."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who follows, under which scope. Events that `offer` takes while the reader waits at the end are not given again:
    to wake a thousand readers for each costs several times more.
    """

    ctx: Context
    recheck: Recheck
    scope: str = "chat:read"
    offer: Offer | None = None


class Tail:
    """Follows chats for any number of readers."""

    def __init__(self, bell: Bell, limits: Limits) -> None:
        self._bell = bell
        self._limits = limits
        self._is_closing = False

    @property
    def is_closing(self) -> bool:
        """Whether the process is going."""
        return self._is_closing

    def close(self) -> None:
        """Have all streams end with their cursor: the process is going."""
        self._is_closing = True
        self._bell.wake_all()

    async def follow(
        self,
        reader: Reader,
        chat_id: ChatId,
        after: int | None,
        *,
        told: asyncio.Future[Outcome] | None = None,
    ) -> AsyncIterator[Batch]:
        """Everything after `after` (None: a snapshot first, then everything after it) as it comes.

        An empty list is a heartbeat. Ends when the stream is old enough, the chat is gone, or `told` is done; without a
        `told` also when the server is going. Raises `NotFound` at the beginning, what `recheck` raises at any time.
        """
        ctx, scope = reader.ctx, reader.scope
        limits = self._limits
        began = heard = checked = time.monotonic()
        cursor = after
        with self._bell.watch(ctx.principal.organisation_id, chat_id) as channel:
            if told is not None:
                told.add_done_callback(lambda _: channel.wake())
            if cursor is None:
                first = await journal.snapshot(ctx, chat_id)
                cursor = first.seq
                yield first
            # Whatever was committed before the watch began is in the store; what came after it, the channel has.
            batch: Batch | None = await journal.after(ctx, chat_id, cursor, scope=scope)
            while True:
                now = time.monotonic()
                if batch:
                    cursor, heard = _last_of(batch), now
                    yield batch
                elif self._is_closing if told is None else told.done():
                    return
                elif now - heard >= limits.sse_heartbeat_s:
                    heard = now
                    yield []
                else:
                    until_s = min(
                        heard + limits.sse_heartbeat_s,
                        checked + limits.stream_recheck_s,
                        began + limits.stream_age_s,
                    )
                    seq = await channel.wait(cursor, reader.offer, until_s)
                    if seq != cursor:
                        cursor, heard = seq, time.monotonic()
                now = time.monotonic()  # it may have waited long
                if (self._is_closing and told is None) or now - began >= limits.stream_age_s:
                    return
                batch = news = channel.after(cursor) if _is_all(batch) else None
                if now - checked >= limits.stream_recheck_s:
                    ctx, checked, batch = await reader.recheck(), now, None
                if batch is None:
                    batch = await _still(ctx, chat_id, cursor, scope, news)
                if batch is None:
                    return

    async def poll(
        self, ctx: Context, chat_id: ChatId, after: int, *, wait_s: float, recheck: Recheck
    ) -> Batch:
        """What comes after `after`: at once if there is something, else with the next event, or nothing after `wait_s`.

        Raises `NotFound`, and what `recheck` raises.
        """
        checked = time.monotonic()
        until = checked + wait_s
        with self._bell.watch(ctx.principal.organisation_id, chat_id) as channel:
            while True:
                batch = await journal.after(ctx, chat_id, after)
                left_s = until - time.monotonic()
                if batch or left_s <= 0 or self._is_closing:
                    return batch
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await channel.wait(until_s=checked + self._limits.stream_recheck_s)
                if time.monotonic() - checked >= self._limits.stream_recheck_s:
                    ctx, checked = await recheck(), time.monotonic()

    async def run(
        self, ctx: Context, live: LiveRun, *, recheck: Recheck, offer: Offer | None = None
    ) -> AsyncIterator[list[Event]]:
        """The events of a run from its start to its end, as they come; an empty list is a heartbeat.

        Pieces of text that `offer` takes are not given again. Ends early when the server is going, the chat is gone, or
        the end could not be written (`live.failure`).
        """
        run = live.run

        def offer_piece(event: Event) -> bool:
            return offer is not None and event.run_id == run.id and event.text is not None and offer(event)

        reader = Reader(ctx, recheck, scope="chat:invoke", offer=offer_piece)
        async for batch in self.follow(reader, run.chat_id, run.first_seq - 1, told=live.told):
            if isinstance(batch, Snapshot):
                return
            own = [event for event in batch if event.run_id == run.id]
            if own or not batch:
                yield own
            if own and own[-1].ends_run:
                return


def _last_of(batch: Batch) -> int:
    return batch.seq if isinstance(batch, Snapshot) else batch[-1].seq


def _is_all(batch: Batch | None) -> bool:
    """Whether the store had no more than this when it was asked."""
    return batch is None or isinstance(batch, Snapshot) or len(batch) < journal.PAGE


async def _still(
    ctx: Context, chat_id: ChatId, cursor: int, scope: str, news: list[Event] | None
) -> Batch | None:
    try:
        return await journal.after(ctx, chat_id, cursor, scope=scope)
    except NotFound:  # whoever was there is told why
        return news if news and news[-1].kind == "chat.deleted" else None
