"""The edge is tested on the event loop it runs on; tests of connections share a server a module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio
import uvloop

from tests.unit.edge.application import App
from tests.unit.edge.serving import Running, running, with_lifespan


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def serving() -> AsyncIterator[tuple[Running, App]]:
    app = App()
    async with running(with_lifespan(app)) as server:
        yield server, app


@pytest_asyncio.fixture(loop_scope="module")
async def server(serving: tuple[Running, App]) -> AsyncIterator[Running]:
    """One server for all tests here (starting it is the slow part), with nothing left of the test before."""
    server, app = serving
    await server.empty()
    app.scopes.clear()
    app.disconnects = 0
    yield server
    await server.empty()


@pytest.fixture
def app(serving: tuple[Running, App]) -> App:
    return serving[1]
