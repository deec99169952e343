"""Tells other nodes which chats have new events, and hears it from them: LISTEN and NOTIFY.

A notice names organisation, chat and sequence, never what was said: row-level security does not reach it. Notices are
sent after the commit, many chats in one, and may be lost with their sender: whoever waits also looks now and then.
A notice of no chat is a summons: there are runs to look after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

import asyncpg
import orjson
import structlog

from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId, OrganisationId
from chatkeep.store.driver import Elsewhere, Place, Summoned
from chatkeep.store.postgres_connections import connect
from chatkeep.store.postgres_errors import ENGINE_ERRORS
from chatkeep.store.postgres_moment import DatabaseClock, time_at

log = structlog.get_logger(__name__)
CHANNEL = "chatkeep"
NOTICE_CHATS_MAX = 60
"""In one notice, which may have 8,000 bytes."""
PULSE_S = 1.0
SILENCE_S = 4.0
LAST_WORDS_S = 0.5
SUMMONS = "[]"


class PostgresBell:
    """One connection that hears and rings; its pulse tells whether the database lives, and what time it is there."""

    def __init__(self, url: str, clock: DatabaseClock) -> None:
        self._url = url
        self._clock = clock
        self._unsaid: dict[Place, int] = {}
        self._has_news = asyncio.Event()
        self._is_silent = asyncio.Event()
        self._is_silent.set()
        self._is_summoning = False
        self._listeners: list[Elsewhere] = []
        self._summoned: list[Summoned] = []
        self._task: asyncio.Task[None] | None = None
        self._heard_s = monotonic()
        self._own_id = 0

    def hear(self, listener: Elsewhere) -> None:
        """Have `listener` told of events that other nodes have committed: each chat, and its newest sequence."""
        self._listeners.append(listener)

    def heed(self, listener: Summoned) -> None:
        """Have `listener` called when another node summons."""
        self._summoned.append(listener)

    def start(self) -> None:
        """Begin; again without harm. Needs a running loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="store bell")

    async def close(self) -> None:
        """Say what is unsaid, if that is quickly done, and end: who goes on with our work is waiting for it."""
        if self._task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await self._is_silent.wait()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def is_answered(self) -> bool:
        """Whether the database has answered lately."""
        return monotonic() - self._heard_s < SILENCE_S

    def ring(self, events: Sequence[Event]) -> None:
        """Have the other nodes told of these."""
        for event in events:
            self._unsaid[event.organisation_id, event.chat_id] = event.seq
        self._is_silent.clear()
        self._has_news.set()

    def summon(self) -> None:
        """Have the other nodes look after runs."""
        self._is_summoning = True
        self._is_silent.clear()
        self._has_news.set()

    async def _work(self) -> None:
        while True:
            connection: asyncpg.Connection | None = None
            try:
                connection = await connect(self._url)
                self._own_id = connection.get_server_pid()
                await connection.add_listener(CHANNEL, self._told)
                await self._serve(connection)
            except ENGINE_ERRORS as error:
                log.warning("the database does not answer", reason=str(error) or type(error).__name__)
            finally:
                if connection is not None:
                    connection.terminate()
            await asyncio.sleep(PULSE_S)

    async def _serve(self, connection: asyncpg.Connection) -> None:
        pulse_due_s = 0.0
        while True:
            if monotonic() >= pulse_due_s:
                await self._pulse(connection)
                pulse_due_s = monotonic() + PULSE_S
            try:
                async with asyncio.timeout(pulse_due_s - monotonic()):
                    await self._has_news.wait()
            except TimeoutError:
                continue
            self._has_news.clear()
            unsaid, self._unsaid = self._unsaid, {}
            await self._send(connection, [(*place, seq) for place, seq in unsaid.items()])
            if self._is_summoning:
                self._is_summoning = False
                await _notify(connection, SUMMONS)
            if not self._has_news.is_set():
                self._is_silent.set()

    async def _pulse(self, connection: asyncpg.Connection) -> None:
        began_s = monotonic()
        async with asyncio.timeout(SILENCE_S):
            now_us = await time_at(connection)
        self._heard_s = monotonic()
        self._clock.correct(now_us, self._heard_s - began_s)

    async def _send(self, connection: asyncpg.Connection, news: list[tuple[str, str, int]]) -> None:
        for start in range(0, len(news), NOTICE_CHATS_MAX):
            await _notify(connection, orjson.dumps(news[start : start + NOTICE_CHATS_MAX]).decode())

    def _told(self, _connection: object, sender: int, _channel: str, notice: Any) -> None:
        if sender == self._own_id:
            return
        if notice == SUMMONS:
            for summoned in self._summoned:
                summoned()
            return
        news = [((OrganisationId(org), ChatId(chat)), seq) for org, chat, seq in orjson.loads(notice)]
        for listener in self._listeners:
            listener(news)


async def _notify(connection: asyncpg.Connection, notice: str) -> None:
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, notice)
