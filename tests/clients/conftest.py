"""One real server for all tests that run other people's programs, and one in-process world for all that look at fields.

Starting either costs more than a test, so they are shared: each test makes its own chats in them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.clients.serving import Served, serving, upstream
from tests.upstream import ScriptedUpstream
from tests.world import FakeClock, World, open_world


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with an echoing model; one for each process that runs tests."""
    folder = tmp_path_factory.mktemp("served")
    with upstream() as base_url:
        settings = {
            "local_model": "false",
            "log_requests": "false",
            "providers__scripted__base_url": base_url,
        }
        with serving(folder, **settings) as served:
            yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """`world` for a whole module; its tests run in the module's loop."""
    async with ScriptedUpstream() as running:
        data = tmp_path_factory.mktemp("world") / "data"
        async with open_world(data, FakeClock(), running) as world:
            yield world
