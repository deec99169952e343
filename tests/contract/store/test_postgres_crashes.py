"""PostgreSQL dies at the worst moment of a commit: what is told of the write is true, and it happens once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import asyncpg
import pytest

from chatkeep.domain.errors import StoreBusy
from chatkeep.store import postgres_writer
from chatkeep.store.driver import Transaction
from chatkeep.store.postgres import PostgresStore, open_postgres
from tests.contract.store.place import ACME, add_agent, agents, found
from tests.postgres.asking import tell
from tests.postgres.server import Postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres.temporary(is_durable=True) as running:
        yield running


@pytest.fixture
async def store(server: Postgres) -> AsyncIterator[PostgresStore]:
    server.start()
    made = open_postgres(server.url())
    if await made.read(None, _organisations) == 0:
        await found(made, ACME)
    yield made
    await made.close()


async def _organisations(tx: Transaction) -> int:
    return len(await tx.all("system_organisations_all"))


class AtCommit:
    """Does something once around the next COMMIT of any connection."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._execute = asyncpg.Connection.execute
        self.before: Callable[[], None] | None = None
        self.after: Callable[[], None] | None = None
        self.is_late = False
        self.coming: asyncio.Task[None] | None = None
        owner = self

        async def execute(connection: asyncpg.Connection, query: str, *arguments: Any, **more: Any) -> str:
            is_commit = query.endswith("COMMIT")
            if is_commit and owner.is_late:
                owner.is_late = False
                monkeypatch.setattr(
                    asyncpg.Connection, "terminate", lambda _: None
                )  # the server learns nothing
                owner.coming = asyncio.create_task(owner._late(connection, query))
                raise ConnectionResetError("the way there broke")
            if is_commit and owner.before is not None:
                before, owner.before = owner.before, None
                await asyncio.to_thread(before)
            done: str = await owner._execute(connection, query, *arguments, **more)
            if is_commit and owner.after is not None:
                after, owner.after = owner.after, None
                await asyncio.to_thread(after)
                raise ConnectionResetError("the answer never came")
            return done

        monkeypatch.setattr(asyncpg.Connection, "execute", execute)

    async def _late(self, connection: asyncpg.Connection, query: str) -> None:
        await asyncio.sleep(0.5)
        await self._execute(connection, query)
        await connection.close()


@pytest.fixture
def at_commit(monkeypatch: pytest.MonkeyPatch) -> AtCommit:
    return AtCommit(monkeypatch)


class Tries:
    """A body that writes an agent of another name each time it is run; the first time it may fail after that."""

    def __init__(self, name: str, *, failing: Exception | None = None) -> None:
        self._name = name
        self._failing = failing
        self._count = 0

    async def __call__(self, tx: Transaction) -> None:
        self._count += 1
        await add_agent(tx, f"{self._name}{self._count}")
        if self._count == 1 and self._failing is not None:
            raise self._failing

    async def kept(self, store: PostgresStore) -> list[str]:
        """Those that are there."""
        return [name for name in await store.read(ACME, agents) if name.startswith(self._name)]


def crash(server: Postgres) -> None:
    """It forgets what it was doing, and others are first at work again: they get the numbers of what was forgotten."""
    server.kill()
    server.start()
    for number in range(8):
        tell(server.superuser_url, f"CREATE TABLE IF NOT EXISTS t (n int); INSERT INTO t VALUES ({number})")


async def test_a_commit_that_a_crash_undid_is_done_again(
    store: PostgresStore, server: Postgres, at_commit: AtCommit
) -> None:
    at_commit.before = partial(crash, server)
    await store.write(ACME, partial(add_agent, agent_id="undone"))
    assert "undone" in await store.read(ACME, agents)


async def test_a_commit_whose_answer_a_crash_took_is_not_done_again(
    store: PostgresStore, server: Postgres, at_commit: AtCommit
) -> None:
    at_commit.after = partial(crash, server)
    body = Tries("done")
    await store.write(ACME, body)
    assert await body.kept(store) == ["done1"]


async def test_a_commit_that_comes_late_to_the_server_is_waited_for(
    store: PostgresStore, at_commit: AtCommit
) -> None:
    at_commit.is_late = True
    body = Tries("late")
    await store.write(ACME, body)
    assert at_commit.coming is not None
    await at_commit.coming
    assert await body.kept(store) == ["late1"]


async def test_what_a_broken_connection_leaves_behind_is_in_nobodys_way(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[asyncpg.Connection] = []
    body = Tries("again", failing=ConnectionResetError("the way there broke"))

    def leave(connection: asyncpg.Connection) -> None:
        left.append(connection)  # the server learns nothing

    with monkeypatch.context() as patched:
        patched.setattr(asyncpg.Connection, "terminate", leave)
        async with asyncio.timeout(1.5):  # nobody waits so shortly for a lock
            await store.write(ACME, body)
    assert await body.kept(store) == ["again2"]
    for connection in left:
        connection.terminate()


async def test_who_writes_while_it_is_down_is_told_so_after_three_attempts(
    store: PostgresStore, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write(ACME, partial(add_agent, agent_id="before"))
    attempts = 0
    transaction = postgres_writer._Lane._transaction

    async def counted(lane: Any, group: Any) -> None:
        nonlocal attempts
        attempts += 1
        await transaction(lane, group)

    monkeypatch.setattr(postgres_writer._Lane, "_transaction", counted)
    await asyncio.to_thread(server.stop)
    with pytest.raises(StoreBusy):
        await store.write(ACME, partial(add_agent, agent_id="while it is down"))
    assert attempts <= postgres_writer.ATTEMPTS_MAX == 3
    await asyncio.to_thread(server.start)
    await store.write(ACME, partial(add_agent, agent_id="after"))
    assert {"before", "after"} <= set(await store.read(ACME, agents))
    assert "while it is down" not in await store.read(ACME, agents)
