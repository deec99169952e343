"""Web pages of other origins: those in `CHATKEEP_ALLOWED_ORIGINS` may call the APIs, no others may read an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.flows.lexicon_client import CHATS, make
from tests.upstream import ScriptedUpstream
from tests.world import NATIVE, FakeClock, World, open_world

PAGE, OTHER = "https://chat.example.com", "https://evil.example"
ALLOW = "access-control-allow-origin"


@pytest.fixture
async def world(tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream) -> AsyncIterator[World]:
    settings = {"allowed_origins": f"{PAGE}, https://b.example", "lexicon_requests_per_minute": 100}
    async with open_world(tmp_path / "data", clock, upstream, **settings) as opened:
        yield opened


async def test_a_page_that_may_asks_first_and_is_answered(world: World) -> None:
    made = await make(world)
    for path in (f"{CHATS}/{made['id']}", f"{NATIVE}/chats", f"/lexicon{CHATS}/{made['id']}", "/v1/chats"):
        wishes = {
            "origin": PAGE,
            "access-control-request-method": "GET",
            "access-control-request-headers": "X-API-Key, Authorization",
        }
        asked = await world.client.options(path, headers=wishes)
        assert (asked.status_code, asked.headers[ALLOW]) == (200, PAGE)
        assert "GET" in asked.headers["access-control-allow-methods"]
        assert "x-api-key" in asked.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in asked.headers
        read = await world.client.get(
            path, headers={"origin": PAGE, **world.owner.x_api_key, **world.owner.bearer}
        )
        assert (read.status_code, read.headers[ALLOW], read.headers["vary"]) == (200, PAGE, "Origin")
        assert "retry-after" in read.headers["access-control-expose-headers"]


async def test_a_page_that_may_not_reads_nothing(world: World) -> None:
    made = await make(world)
    path = f"{CHATS}/{made['id']}"
    wishes = {"origin": OTHER, "access-control-request-method": "GET"}
    assert ALLOW not in (await world.client.options(path, headers=wishes)).headers
    for origin in (OTHER, "null", PAGE + ".evil.example", PAGE.replace("https", "http"), PAGE + ":8443"):
        read = await world.client.get(path, headers={"origin": origin, **world.owner.x_api_key})
        assert ALLOW not in read.headers, origin


async def test_an_error_can_be_read_too_and_no_ready_answer_lacks_the_header(world: World) -> None:
    made = await world.native("POST", "/chats", title="T")
    path = f"{NATIVE}/chats/{made['id']}"
    for _ in range(3):
        for origin in (PAGE, "https://b.example"):
            read = await world.client.get(path, headers={"origin": origin, **world.owner.bearer})
            assert read.headers[ALLOW] == origin
        assert ALLOW not in (await world.client.get(path, headers=world.owner.bearer)).headers
    refused = await world.client.get(path, headers={"origin": PAGE})
    assert (refused.status_code, refused.headers[ALLOW]) == (401, PAGE)


async def test_nothing_is_said_of_it_where_no_page_may(
    tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream
) -> None:
    async with open_world(tmp_path / "other", clock, upstream) as world:
        read = await world.client.get(f"{NATIVE}/chats", headers={"origin": PAGE, **world.owner.bearer})
        assert read.status_code == 200
        assert not [name for name in read.headers if name.startswith("access-control")]
        wishes = {"origin": PAGE, "access-control-request-method": "GET"}
        assert (await world.client.options(f"{NATIVE}/chats", headers=wishes)).status_code == 405
