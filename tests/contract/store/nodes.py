"""Two nodes on one PostgreSQL in this process, for what their writers do to each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from chatkeep import wiring
from chatkeep.config import ProviderSettings, Settings
from chatkeep.domain.chat import NewChat
from chatkeep.domain.ids import ChatId, Clock, OrganisationId, PrincipalId
from chatkeep.domain.message import NewMessage
from chatkeep.services import chats, doctor, models, organisations
from chatkeep.services.context import Context, System
from chatkeep.store.driver import Transaction
from tests.upstream import ScriptedUpstream

T = TypeVar("T")
PATIENCE_S = 10.0
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


class Later:
    """A clock by which every lease has run out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now_us(self) -> int:
        return self._clock.now_us() + 31_000_000


class Nodes:
    """Two systems with the same secrets and database, and somebody who may do everything, at each of them."""

    def __init__(self, systems: list[System], made: organisations.NewOrganisation, url: str) -> None:
        self.systems = systems
        self.organisation_id = OrganisationId(made.organisation.id)
        principal = organisations.operator(self.organisation_id, PrincipalId(made.owner_id))
        self.one, self.other = (Context(system, principal) for system in systems)
        self._url = url

    @property
    def both(self) -> tuple[Context, Context]:
        """Each node once."""
        return self.one, self.other

    @property
    def later(self) -> list[System]:
        """Each node once the leases that are held now have run out."""
        return [replace(system, clock=Later(system.clock)) for system in self.systems]

    async def chat(self, *texts: str) -> ChatId:
        """A new chat."""
        said = [NewMessage("user", text) for text in texts]
        return (await chats.create(self.one, NewChat(dialect="native", title="A chat"), said)).chat.id

    async def check(self) -> None:
        """Nothing that must be true of a store has become untrue."""
        found = await doctor.examine(self.systems[0])
        assert not any(found.values()), found

    async def until_somebody_waits(self) -> None:
        """Until a statement waits for another transaction's rows."""
        connection = await asyncpg.connect(self._url)
        async with asyncio.timeout(PATIENCE_S):
            while not await connection.fetchval(WAITING):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.005)
        await connection.close()


async def at_once(work: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Everything at the same time; results and errors in its order."""
    return await asyncio.gather(*work, return_exceptions=True)


def sort_out(results: list[Any], *refusals: type[BaseException]) -> list[Any]:
    """What was done; the others were refused as they may be."""
    strange = [each for each in results if isinstance(each, BaseException) and not isinstance(each, refusals)]
    assert strange == []
    return [each for each in results if not isinstance(each, BaseException)]


class Held:
    """A transaction that has done its work and is not committed yet."""

    def __init__(self, system: System, organisation_id: OrganisationId | None) -> None:
        self._system = system
        self._organisation_id = organisation_id
        self._has_worked, self._may_commit = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def after(self, work: Callable[[Transaction], Awaitable[object]]) -> AsyncIterator[None]:
        """Commits at the end of the block."""

        async def body(tx: Transaction) -> None:
            await work(tx)
            self._has_worked.set()
            await self._may_commit.wait()

        task = asyncio.create_task(self._system.store.write(self._organisation_id, body))
        async with asyncio.timeout(PATIENCE_S):
            await self._has_worked.wait()
        try:
            yield
        finally:
            self._may_commit.set()
            await task


@asynccontextmanager
async def two_nodes(
    data: Path, url: str, upstream: ScriptedUpstream, **settings: Any
) -> AsyncIterator[Nodes]:
    """Two nodes that have just started on a database without rows."""
    chosen = Settings(
        data=data,
        database_url=url,
        local_model=False,
        providers={"scripted": ProviderSettings(base_url=upstream.base_url)},
        **settings,
    )
    systems = [wiring.make_system(chosen) for _ in range(2)]
    try:
        made = await at_once(wiring.first_start(system) for system in systems)
        (first,) = [each for each in sort_out(made) if each is not None]
        await at_once(models.sync(system, each) for system in systems for each in system.providers.values())
        yield Nodes(systems, first, url)
    finally:
        for system in systems:
            await wiring.close(system)
