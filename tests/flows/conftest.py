"""The shared server of the native API's stories; see `tests.flows.office`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.flows.office import Office, idle
from tests.upstream import ScriptedUpstream
from tests.world import FakeClock, World, open_world


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_world(
    tmp_path_factory: pytest.TempPathFactory, engine: str, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    """One server an engine for all stories of this process that take an `office`."""
    data = tmp_path_factory.mktemp("shared") / "data"
    databases = None if engine == "sqlite" else request.getfixturevalue("postgres_databases")
    url = None if databases is None else databases.fresh()
    async with (
        ScriptedUpstream() as upstream,
        open_world(data, FakeClock(), upstream, database_url=url) as world,
    ):
        yield world
    if databases is not None:
        databases.drop(url)


@pytest_asyncio.fixture(loop_scope="session")
async def office(shared_world: World) -> AsyncIterator[Office]:
    """A fresh organisation in the shared server; the upstream echoes until the story gives it a script."""
    upstream = shared_world.upstream
    upstream.requests.clear()
    upstream.headers.clear()
    upstream.disconnects = 0
    office = Office(shared_world.server, shared_world.clock, upstream, await shared_world.organisation())
    async with office.client:
        yield office
        await idle(office)
    upstream._scripts.clear()


@pytest.fixture(autouse=True)
def _database(engine: str, request: pytest.FixtureRequest) -> None:
    """Stories that open servers of their own, in this process or by commands, do so on the engine's database."""
    if engine == "postgres" and "office" not in request.fixturenames:
        request.getfixturevalue("database")
