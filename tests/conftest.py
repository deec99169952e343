"""What most tests stand on: a whole server in this process on a fresh data folder, with a clock that can be turned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.postgres.fixtures import postgres as postgres
from tests.postgres.fixtures import postgres_databases as postgres_databases
from tests.postgres.fixtures import postgres_empty_databases as postgres_empty_databases
from tests.postgres.fixtures import postgres_empty_url as postgres_empty_url
from tests.postgres.fixtures import postgres_url as postgres_url
from tests.upstream import ScriptedUpstream
from tests.world import FakeClock, World, open_world

ON_BOTH = ("tests/flows", "tests/contract/dialects", "tests/security")
"""Here every story that has a server is told on both engines, but for those marked `sqlite` or `postgres`."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test an engine, those of one engine after another."""
    if "engine" in metafunc.fixturenames:
        place = str(metafunc.definition.path.relative_to(metafunc.config.rootpath))
        engines = ["sqlite", "postgres"] if place.startswith(ON_BOTH) else ["sqlite"]
        engines = next(
            ([each.name] for each in metafunc.definition.iter_markers() if each.name in engines), engines
        )
        metafunc.parametrize("engine", engines, indirect=True, scope="session")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """Which database is under the server."""
    return str(request.param)


@pytest.fixture
def database(engine: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The URL of the test's own database, which all servers and commands of the test take from the environment; None
    for files in their data folders.
    """
    if engine == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres_url")
    monkeypatch.setenv("CHATKEEP_DATABASE_URL", url)
    return url


@pytest.fixture
def superuser_url_of(postgres: str) -> Callable[[str], str]:
    """The same database's URL for one whom row-level security does not bind."""
    return lambda url: urlsplit(postgres)._replace(path=urlsplit(url).path).geturl()


@pytest.fixture
def superuser_url(database: str | None, request: pytest.FixtureRequest) -> str | None:
    """The test's own database for one whom row-level security does not bind; None for files."""
    return None if database is None else str(request.getfixturevalue("superuser_url_of")(database))


@pytest.fixture
def clock() -> FakeClock:
    """Stands at 2026-01-01T12:00:00Z until it is advanced."""
    return FakeClock()


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """A real HTTP server that speaks OpenAI's stream; echoes what it is asked unless told otherwise."""
    async with ScriptedUpstream() as running:
        yield running


@pytest.fixture
async def world(
    tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream, database: str | None
) -> AsyncIterator[World]:
    """A server with one organisation, its owner's key, and `scripted-model` answering."""
    async with open_world(tmp_path / "data", clock, upstream) as running:
        yield running
