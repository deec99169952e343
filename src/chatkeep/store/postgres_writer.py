"""Writes to PostgreSQL with group commit: a few lanes, each a connection that commits many bodies at once.

What waits when a lane is free shares its next transaction. All that is about one chat goes through one lane, so that no
two of them wait for each other's rows; where other nodes hold them, whoever waits is soon on its own. A body that fails
after it has written spoils that for the others: all is undone, and those before it, it alone, and those after it are
run again as transactions of their own. A connection that breaks before the commit costs a new try; one that breaks in
it is followed by the question to the server whether the transaction was committed, so that what is told to the caller
is true. Each transaction leaves its number in `commits`, and holds its lane's lock: whoever gets the lock finds the
number of the last one that was committed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Any

import asyncpg

from chatkeep.domain.errors import ShuttingDown, StoreBusy, StoreLost
from chatkeep.domain.ids import ChatId, OrganisationId
from chatkeep.store.driver import Body, Listener
from chatkeep.store.postgres_connections import LOCK_TIMEOUT_MS, SYSTEM, binding, connect
from chatkeep.store.postgres_errors import CONTENDED, ENGINE_ERRORS, is_connection_lost, told
from chatkeep.store.postgres_queue import Job, Queue
from chatkeep.store.postgres_transaction import PostgresTransaction, Unsent
from chatkeep.store.settling import settle
from chatkeep.store.statements import Numbered

LANES = 4
GROUP_LOCK_TIMEOUT_MS = 200
"""How long a group waits for rows that others hold, before each of its bodies waits alone."""
QUEUE_MAX = 10_000
ATTEMPTS_MAX = 3
RETRY_S = 0.25
OUTCOME_PATIENCE_S = 10.0
"""How long it is asked what became of a commit whose connection broke."""
FORGET_LANES = "DELETE FROM commits WHERE at < clock_timestamp() - interval '1 day'"
NEW_LANE = "INSERT INTO commits DEFAULT VALUES RETURNING lane"
LOCK = "SELECT pg_advisory_xact_lock({lane})"
"""Held until the transaction is over, also where its connection is long gone."""
MARK = """
INSERT INTO commits (lane, number) VALUES ({lane}, {number})
ON CONFLICT (lane) DO UPDATE SET number = excluded.number, at = clock_timestamp()
"""

PLANS = "SET LOCAL plan_cache_mode = {mode}"
"""Work of the system, which comes first in a group, is about many chats at once, and may come before a new database
knows how many it has: a plan that was made and kept then may read them all for each."""


class _OutcomeUnknown(Exception):
    """The connection broke while the transaction was being committed."""


class _Spoilt(Exception):
    """Nothing of a group was done; `parts`: how it is to be tried again. Without a culprit each job is alone."""

    def __init__(self, group: list[Job], culprit: int | None) -> None:
        super().__init__(culprit)
        if culprit is None:
            self.parts = [[job] for job in group]
        else:
            parts = group[:culprit], [group[culprit]], group[culprit + 1 :]
            self.parts = [part for part in parts if part]


class Writer:
    """Runs bodies in transactions of one of its lanes; `submit` returns once the commit is durable."""

    def __init__(self, url: str, sql: dict[str, Numbered]) -> None:
        self._url = url
        self._sql = sql
        self.listeners: list[Listener] = []
        self._queue = Queue(LANES)
        self._is_closing = False
        self._lanes: list[asyncio.Task[None]] = []

    async def submit(
        self, organisation_id: OrganisationId | None, about: ChatId | None, body: Body[Any]
    ) -> Any:
        """Run `body` inside a group commit and return what it returned, or raise what it raised."""
        if self._is_closing:
            raise ShuttingDown()
        if self._queue.waiting >= QUEUE_MAX:
            raise StoreBusy("Too many writes are waiting; nothing was written.")
        if not self._lanes:
            self._lanes = [
                asyncio.create_task(self._lane(), name=f"store lane {number}") for number in range(LANES)
            ]
        job = Job(organisation_id, about, body, asyncio.get_running_loop().create_future())
        self._queue.add(job)
        return await job.future

    async def close(self) -> None:
        """Commit what was accepted, then let go of the connections."""
        self._is_closing = True
        self._queue.close()
        await asyncio.gather(*self._lanes)

    async def _lane(self) -> None:
        lane = _Lane(self._url, self._sql)
        try:
            while group := await self._queue.take():
                # Those of one organisation together, as each change of it costs a round trip, and all in an order that
                # is the same at every node, so that no two of them wait for each other.
                group.sort(key=lambda job: (job.organisation_id or "", job.about or ""))
                for settled in await lane.commit(group):
                    settle(settled, self.listeners)
                self._queue.done(group)
        finally:
            lane.drop()


class _Lane:
    def __init__(self, url: str, sql: dict[str, Numbered]) -> None:
        self._url = url
        self._sql = sql
        self._connection: asyncpg.Connection | None = None
        self._began_with: asyncpg.Connection | None = None
        self._lane = 0
        self._number = 0

    def drop(self) -> None:
        """Let go of the connection, whatever it is doing."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def commit(self, group: list[Job]) -> list[list[Job]]:
        """See all of them to their ends, in order; those that shared a commit are together."""
        attempts = 0
        while True:
            attempts += 1
            trouble: BaseException | None
            try:
                await self._transaction(group)
                return [group]
            except _OutcomeUnknown:
                trouble = await self._outcome()
                if trouble is None:
                    return [group]
            except _Spoilt as spoilt:
                if len(group) > 1:
                    return [done for part in spoilt.parts for done in await self.commit(part)]
                trouble = group[0].error
            except Exception as error:
                self.drop()
                trouble = error
            assert trouble is not None
            may_help = isinstance(trouble, CONTENDED) or is_connection_lost(trouble)
            if not may_help or attempts >= ATTEMPTS_MAX:
                return [_failed(group, trouble)]
            await asyncio.sleep(RETRY_S * (attempts - 1))

    async def _transaction(self, group: list[Job]) -> None:
        """Run and commit all of them. Raises `_Spoilt` when nothing was done."""
        connection = await self._connected()
        if (
            connection is not self._began_with
        ):  # the lock of the lane before may be held by what we have left behind
            self._lane, self._began_with = await _new_lane(connection), connection
        patience_ms = GROUP_LOCK_TIMEOUT_MS if len(group) > 1 else LOCK_TIMEOUT_MS
        begin = f"BEGIN; {LOCK.format(lane=self._lane)}; {binding(group[0].organisation_id)}"
        if group[0].organisation_id is None:
            begin = f"{begin}; {PLANS.format(mode='force_custom_plan')}"
        await connection.execute(f"{begin}; SET LOCAL lock_timeout = {patience_ms}")
        try:
            has_written = await self._run(connection, group)
        except _Spoilt:
            await connection.execute("ROLLBACK")
            raise
        self._number += has_written
        mark = f"{MARK.format(lane=self._lane, number=self._number)}; " if has_written else ""
        try:
            status = await connection.execute(f"{mark}COMMIT")
        except Exception as error:
            if not has_written or not is_connection_lost(error):
                raise
            self.drop()
            raise _OutcomeUnknown from error
        assert status == "COMMIT", "a body went on after a statement had failed"

    async def _run(self, connection: asyncpg.Connection, group: list[Job]) -> bool:
        """Run the bodies, and send what they leave to be sent; whether they wrote. Raises `_Spoilt`."""
        bound_to, has_written, unsent = group[0].organisation_id, False, Unsent(connection)
        for place, job in enumerate(group):
            if job.organisation_id != bound_to:
                await _send(unsent, group)
                await connection.execute(f"{binding(job.organisation_id)}; {PLANS.format(mode='auto')}")
                bound_to = job.organisation_id
            transaction = PostgresTransaction(connection, self._sql, bound_to, unsent)
            job.result, job.error, job.events = None, None, transaction.announced
            try:
                job.result = await job.body(transaction)
            except Exception as error:
                if is_connection_lost(error):
                    raise
                job.error = error
                if transaction.has_written or isinstance(error, asyncpg.PostgresError):
                    raise _Spoilt(group, None if isinstance(error, CONTENDED) else place) from error
            has_written |= transaction.has_written
        await _send(unsent, group)
        return has_written

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url)
        return self._connection

    async def _outcome(self) -> Exception | None:
        """None if it was committed; what to raise if not, or if nobody could tell."""
        until_s = monotonic() + OUTCOME_PATIENCE_S
        while monotonic() < until_s:
            with suppress(*ENGINE_ERRORS):
                number = await self._committed()
                return None if number == self._number else ConnectionResetError("it broke before the commit")
            await asyncio.sleep(RETRY_S)
        return StoreLost("The database went away while this was being written; whether it was is not known.")

    async def _committed(self) -> int | None:
        """The number of the lane's last commit, once none is under way: the server may learn late that we are gone."""
        connection = await self._connected()
        async with connection.transaction():
            await connection.execute(f"{LOCK.format(lane=self._lane)}; SET LOCAL ROLE {SYSTEM}")
            number: int | None = await connection.fetchval(
                "SELECT number FROM commits WHERE lane = $1", self._lane
            )
        return number


async def _send(unsent: Unsent, group: list[Job]) -> None:
    try:
        await unsent.send()
    except Exception as error:
        if is_connection_lost(error):
            raise
        for job in group:
            job.error = error
        raise _Spoilt(group, None) from error


async def _new_lane(connection: asyncpg.Connection) -> int:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL ROLE {SYSTEM}; {FORGET_LANES}")
        lane: int = await connection.fetchval(NEW_LANE)
        return lane


def _failed(group: list[Job], error: BaseException) -> list[Job]:
    for job in group:
        job.error = told(error)
    return group
