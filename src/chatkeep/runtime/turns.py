"""Waiting for one's turn in a chat: a second message comes after the answer that is being generated."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from chatkeep.domain.errors import ChatBusy
from chatkeep.domain.ids import ChatId, OrganisationId
from chatkeep.domain.message import NewMessage
from chatkeep.runtime.bell import Bell
from chatkeep.services import runs
from chatkeep.services.context import Context
from chatkeep.services.generating import StartedRun
from chatkeep.services.runs import Settle
from chatkeep.services.wishes import Wish

LOOK_AGAIN_S = 1.0


@dataclass(slots=True)
class _Queue:
    """Who is first holds the lock; it is kept while anybody is in the queue."""

    first: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class Turns:
    """One queue a chat, of this process; the first that came is the first that is served."""

    def __init__(self, bell: Bell, *, wait_s: float) -> None:
        self._bell = bell
        self._wait_s = wait_s
        self._queues: dict[tuple[OrganisationId, ChatId], _Queue] = {}

    async def start(
        self,
        ctx: Context,
        chat_id: ChatId,
        said: list[NewMessage],
        wish: Wish,
        *,
        settle: Settle | None = None,
    ) -> StartedRun:
        """`runs.start` once nobody else is answered in the chat. Raises `ChatBusy` after too long a wait."""
        place = (ctx.principal.organisation_id, chat_id)
        until = time.monotonic() + self._wait_s
        queue = self._queues.setdefault(place, _Queue())
        queue.length += 1
        try:
            try:
                async with asyncio.timeout(self._wait_s):
                    await queue.first.acquire()
            except TimeoutError:
                raise ChatBusy() from None
            try:
                return await self._first(ctx, chat_id, said, wish, settle=settle, until=until)
            finally:
                queue.first.release()
        finally:
            queue.length -= 1
            if queue.length == 0:
                del self._queues[place]

    async def _first(
        self,
        ctx: Context,
        chat_id: ChatId,
        said: list[NewMessage],
        wish: Wish,
        *,
        settle: Settle | None,
        until: float,
    ) -> StartedRun:
        with self._bell.watch(ctx.principal.organisation_id, chat_id) as channel:
            while True:
                try:
                    return await runs.start(ctx, chat_id, said, wish, settle=settle)
                except ChatBusy:
                    if time.monotonic() >= until:
                        raise
                await channel.wait(LOOK_AGAIN_S)
