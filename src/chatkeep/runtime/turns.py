"""Waiting for one's turn in a chat: a second message comes after the answer that is being generated."""

from __future__ import annotations

import asyncio
import time

from chatkeep.domain.errors import ChatBusy
from chatkeep.domain.ids import ChatId, OrganisationId
from chatkeep.domain.message import NewMessage
from chatkeep.runtime.bell import Bell
from chatkeep.services import runs
from chatkeep.services.context import Context
from chatkeep.services.generating import StartedRun
from chatkeep.services.wishes import Wish


class _Queue:
    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.waiting = 0


class Turns:
    """One queue a chat, of this process; the first that came is the first that is served."""

    def __init__(self, bell: Bell, *, wait_s: float) -> None:
        self._bell = bell
        self._wait_s = wait_s
        self._queues: dict[tuple[OrganisationId, ChatId], _Queue] = {}

    async def start(self, ctx: Context, chat_id: ChatId, said: list[NewMessage], wish: Wish) -> StartedRun:
        """`runs.start`; where the wish is to wait, once nobody else is answered in the chat.

        Raises `ChatBusy` after too long a wait.
        """
        if wish.if_busy != "queue":
            return await runs.start(ctx, chat_id, said, wish)
        place = (ctx.principal.organisation_id, chat_id)
        queue = self._queues.setdefault(place, _Queue())
        queue.waiting += 1
        try:
            return await self._in_turn(queue, ctx, chat_id, said, wish)
        finally:
            queue.waiting -= 1
            if not queue.waiting:
                del self._queues[place]

    async def _in_turn(
        self, queue: _Queue, ctx: Context, chat_id: ChatId, said: list[NewMessage], wish: Wish
    ) -> StartedRun:
        until = time.monotonic() + self._wait_s
        try:
            async with asyncio.timeout(self._wait_s):
                await queue.turn.acquire()
        except TimeoutError:
            raise ChatBusy() from None
        try:
            with self._bell.watch(ctx.principal.organisation_id, chat_id) as channel:
                while True:
                    try:
                        return await runs.start(ctx, chat_id, said, wish)
                    except ChatBusy:
                        if time.monotonic() >= until:
                            raise
                    # With the bell's next look at the latest: the chat may have come free before we waited.
                    await channel.wait(until_s=time.monotonic())
        finally:
            queue.turn.release()
