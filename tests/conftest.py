"""What most tests stand on: a whole server in this process on a fresh data folder, with a clock that can be turned."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.postgres.fixtures import postgres as postgres
from tests.postgres.fixtures import postgres_databases as postgres_databases
from tests.postgres.fixtures import postgres_empty_databases as postgres_empty_databases
from tests.postgres.fixtures import postgres_empty_url as postgres_empty_url
from tests.postgres.fixtures import postgres_url as postgres_url
from tests.upstream import ScriptedUpstream
from tests.world import FakeClock, World, open_world


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
async def world(tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream) -> AsyncIterator[World]:
    """A server with one organisation, its owner's key, and `scripted-model` answering."""
    async with open_world(tmp_path / "data", clock, upstream) as running:
        yield running
