"""Writes to PostgreSQL with group commit: a few lanes, each a connection that commits many bodies at once.

What waits when a lane is free shares its next transaction. All that is about one chat goes through one lane, so that no
two of them wait for each other's rows; where other nodes hold them, whoever waits is soon on its own. A body that fails
after it has written spoils that for the others: all is undone, and those before it, it alone, and those after it are
run again as transactions of their own. A connection that breaks before the commit costs a new try; one that breaks in
it is followed by the question to the server whether the transaction was committed, so that what is told to the caller
is true. Each transaction leaves its number in `commits`: what the server tells of a transaction by its id may be about
another one, after a crash.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import asyncpg

from chatkeep.domain.errors import ShuttingDown, StoreBusy, StoreLost
from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId, OrganisationId
from chatkeep.store.driver import Body, Listener
from chatkeep.store.postgres_connections import LOCK_TIMEOUT_MS, SYSTEM, binding, connect
from chatkeep.store.postgres_errors import CONTENDED, ENGINE_ERRORS, is_connection_lost, told
from chatkeep.store.postgres_transaction import PostgresTransaction
from chatkeep.store.settling import settle
from chatkeep.store.statements import Numbered

LANES = 4
GROUP_MAX = 32
GROUP_LOCK_TIMEOUT_MS = 200
"""How long a group waits for rows that others hold, before each of its bodies waits alone."""
QUEUE_MAX = 10_000
ATTEMPTS_MAX = 3
RETRY_S = 0.25
OUTCOME_PATIENCE_S = 10.0
"""How long it is asked what became of a commit whose connection broke."""
FORGET_LANES = "DELETE FROM commits WHERE at < clock_timestamp() - interval '1 day'"
NEW_LANE = "INSERT INTO commits DEFAULT VALUES RETURNING lane"
MARK = """
INSERT INTO commits (lane, number) VALUES ($1, $2)
ON CONFLICT (lane) DO UPDATE SET number = excluded.number, at = clock_timestamp()
RETURNING pg_current_xact_id()::text
"""


@dataclass(slots=True)
class _Job:
    organisation_id: OrganisationId | None
    about: ChatId | None
    body: Body[Any]
    future: asyncio.Future[Any]
    events: list[Event] = field(default_factory=list)
    result: Any = None
    error: BaseException | None = None


class _OutcomeUnknown(Exception):
    """The connection broke while the transaction was being committed."""

    def __init__(self, transaction_id: str) -> None:
        super().__init__(transaction_id)
        self.transaction_id = transaction_id


class Writer:
    """Runs bodies in transactions of one of its lanes; `submit` returns once the commit is durable."""

    def __init__(self, url: str, sql: dict[str, Numbered]) -> None:
        self._url = url
        self._sql = sql
        self.listeners: list[Listener] = []
        self._queues = [_Queue() for _ in range(LANES)]
        self._at_work: dict[tuple[OrganisationId | None, ChatId | None], _Queue] = {}
        """Where something about a chat waits or is done: the next about it goes there too."""
        self._is_closing = False
        self._lanes: list[asyncio.Task[None]] = []

    async def submit(
        self, organisation_id: OrganisationId | None, about: ChatId | None, body: Body[Any]
    ) -> Any:
        """Run `body` inside a group commit and return what it returned, or raise what it raised."""
        if self._is_closing:
            raise ShuttingDown()
        if sum(len(queue.waiting) for queue in self._queues) >= QUEUE_MAX:
            raise StoreBusy("Too many writes are waiting; nothing was written.")
        if not self._lanes:
            self._lanes = [
                asyncio.create_task(self._lane(queue), name=f"store lane {number}")
                for number, queue in enumerate(self._queues)
            ]
        job = _Job(organisation_id, about, body, asyncio.get_running_loop().create_future())
        place = (organisation_id, about)
        queue = self._at_work.get(place) if about is not None else None
        if queue is None:
            queue = min(self._queues, key=lambda queue: queue.load)
        if about is not None:
            self._at_work[place] = queue
        queue.add(job)
        return await job.future

    async def close(self) -> None:
        """Commit what was accepted, then let go of the connections."""
        self._is_closing = True
        for queue in self._queues:
            queue.has_work.set()
        await asyncio.gather(*self._lanes)

    async def _lane(self, queue: _Queue) -> None:
        lane, waiting = _Lane(self._url, self._sql), queue.waiting
        try:
            while not self._is_closing or waiting:
                if not waiting:
                    queue.has_work.clear()
                    await queue.has_work.wait()
                    continue
                group = [waiting.popleft() for _ in range(min(len(waiting), GROUP_MAX))]
                # Those of one organisation together, as each change of it costs a round trip, and all in an order that
                # is the same at every node, so that no two of them wait for each other.
                group.sort(key=lambda job: (job.organisation_id or "", job.about or ""))
                for settled in await lane.commit(group):
                    settle(settled, self.listeners)
                queue.load -= len(group)
                still = {(job.organisation_id, job.about) for job in waiting}
                for place in {(job.organisation_id, job.about) for job in group} - still:
                    self._at_work.pop(place, None)
        finally:
            lane.drop()


class _Queue:
    """What waits for one lane; `load` is that and what the lane is at."""

    def __init__(self) -> None:
        self.waiting: deque[_Job] = deque()
        self.has_work = asyncio.Event()
        self.load = 0

    def add(self, job: _Job) -> None:
        """One more."""
        self.waiting.append(job)
        self.load += 1
        self.has_work.set()


class _Lane:
    def __init__(self, url: str, sql: dict[str, Numbered]) -> None:
        self._url = url
        self._sql = sql
        self._connection: asyncpg.Connection | None = None
        self._lane: int | None = None
        self._number = 0

    def drop(self) -> None:
        """Let go of the connection, whatever it is doing."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def commit(self, group: list[_Job]) -> list[list[_Job]]:
        """See all of them to their ends, in order; those that shared a commit are together."""
        attempts = 0
        while True:
            attempts += 1
            trouble: BaseException | None
            try:
                spoiler = await self._transaction(group)
            except _OutcomeUnknown as unknown:
                trouble = await self._outcome(unknown)
                if trouble is None:
                    return [group]
            except Exception as error:
                self.drop()
                trouble = error
            else:
                if spoiler is None:
                    return [group]
                if len(group) > 1:
                    parts = [group[:spoiler], [group[spoiler]], group[spoiler + 1 :]]
                    if isinstance(group[spoiler].error, CONTENDED):
                        parts = [[job] for job in group]
                    return [done for part in parts if part for done in await self.commit(part)]
                trouble = group[0].error
            assert trouble is not None
            may_help = isinstance(trouble, CONTENDED) or is_connection_lost(trouble)
            if not may_help or attempts >= ATTEMPTS_MAX:
                return [_failed(group, trouble)]
            await asyncio.sleep(RETRY_S * (attempts - 1))

    async def _transaction(self, group: list[_Job]) -> int | None:
        """Run and commit all of them; or the place of the one that spoilt it, when nothing was done."""
        connection = await self._connected()
        if self._lane is None:
            self._lane = await _new_lane(connection)
        patience_ms = GROUP_LOCK_TIMEOUT_MS if len(group) > 1 else LOCK_TIMEOUT_MS
        begin = f"BEGIN; {binding(group[0].organisation_id)}; SET LOCAL lock_timeout = {patience_ms}"
        await connection.execute(begin)
        bound_to, has_written = group[0].organisation_id, False
        for place, job in enumerate(group):
            if job.organisation_id != bound_to:
                await connection.execute(binding(job.organisation_id))
                bound_to = job.organisation_id
            transaction = PostgresTransaction(connection, self._sql, bound_to, is_write=True)
            job.result, job.error, job.events = None, None, transaction.announced
            try:
                job.result = await job.body(transaction)
            except Exception as error:
                if is_connection_lost(error):
                    raise
                job.error = error
                if transaction.has_written or isinstance(error, asyncpg.PostgresError):
                    await connection.execute("ROLLBACK")
                    return place
            has_written |= transaction.has_written
        transaction_id = await self._mark(connection) if has_written else None
        try:
            status = await connection.execute("COMMIT")
        except Exception as error:
            if transaction_id is None or not is_connection_lost(error):
                raise
            self.drop()
            raise _OutcomeUnknown(transaction_id) from error
        assert status == "COMMIT", "a body went on after a statement had failed"
        return None

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url)
        return self._connection

    async def _mark(self, connection: asyncpg.Connection) -> str:
        self._number += 1
        transaction_id: str = await connection.fetchval(MARK, self._lane, self._number)
        return transaction_id

    async def _outcome(self, unknown: _OutcomeUnknown) -> Exception | None:
        """None if it was committed; what to raise if not, or if nobody could tell."""
        until_s = monotonic() + OUTCOME_PATIENCE_S
        while monotonic() < until_s:
            with suppress(*ENGINE_ERRORS):
                connection = await self._connected()
                if not await _is_under_way(connection, unknown.transaction_id):
                    is_committed = await _has_mark(connection, self._lane, self._number)
                    return None if is_committed else ConnectionResetError("it broke before the commit")
            await asyncio.sleep(RETRY_S)
        return StoreLost("The database went away while this was being written; whether it was is not known.")


async def _new_lane(connection: asyncpg.Connection) -> int:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL ROLE {SYSTEM}; {FORGET_LANES}")
        lane: int = await connection.fetchval(NEW_LANE)
        return lane


async def _is_under_way(connection: asyncpg.Connection, transaction_id: str) -> bool:
    """Whether it may still be committed: the server may learn late that its client is gone."""
    try:
        status = await connection.fetchval("SELECT pg_xact_status($1::text::xid8)", transaction_id)
    except asyncpg.InvalidParameterValueError:  # "in the future": the server crashed before it knew of it
        return False
    return bool(status == "in progress")


async def _has_mark(connection: asyncpg.Connection, lane: int | None, number: int) -> bool:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL ROLE {SYSTEM}")
        return bool(await connection.fetchval("SELECT number FROM commits WHERE lane = $1", lane) == number)


def _failed(group: list[_Job], error: BaseException) -> list[_Job]:
    for job in group:
        job.error = told(error)
    return group
