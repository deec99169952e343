"""Limits of Lexicon's API: how often a tenant may ask, how many sockets it may have open, how long in silence."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.flows.lexicon_client import CHATS, ask, make
from tests.flows.lexicon_socket import sockets_of
from tests.upstream import ScriptedUpstream
from tests.world import FakeClock, open_world


async def test_the_hundred_and_first_request_of_a_minute_is_refused(
    tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream
) -> None:
    async with open_world(tmp_path / "data", clock, upstream, lexicon_requests_per_minute=100) as world:
        made, began_us = await make(world), clock._now_us
        path = f"{CHATS}/{made['id']}"
        for n in range(2, 101):
            answer = await ask(world, "GET", path)
            assert answer.status_code == 200
            told = {
                name: int(answer.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset")
            }
            assert (told["limit"], told["remaining"]) == (100, 100 - n)
            assert told["reset"] == pytest.approx(began_us / 1e6 + 60, abs=1.5)
        for method in ("GET", "DELETE"):
            refused = await ask(world, method, path)
            assert refused.status_code == refused.json()["error"] == 429
            assert refused.headers["x-ratelimit-remaining"] == "0"
            assert 1 <= int(refused.headers["retry-after"]) <= 60
        other = await world.organisation()
        assert (await ask(world, "POST", f"{CHATS}/", other, json={"user_id": "u"})).status_code == 201
        assert (await world.native("GET", f"/chats/{made['id']}"))["id"] == made["id"]
        clock.advance(61)
        assert (await ask(world, "GET", path)).headers["x-ratelimit-remaining"] == "99"


async def test_no_limit_where_it_is_zero(
    tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream
) -> None:
    async with open_world(tmp_path / "data", clock, upstream, lexicon_requests_per_minute=0) as world:
        made = await make(world)
        for _ in range(110):
            answer = await ask(world, "GET", f"{CHATS}/{made['id']}")
            assert (answer.status_code, "x-ratelimit-limit" in answer.headers) == (200, False)


async def test_so_many_sockets_a_tenant(tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream) -> None:
    async with (
        open_world(tmp_path / "data", clock, upstream, lexicon_sockets_max=5) as world,
        sockets_of(world) as sockets,
        AsyncExitStack() as stack,
    ):
        chats = [(await make(world))["id"] for _ in range(2)]
        for n in range(4):
            visitor = await stack.enter_async_context(sockets.visit(chats[n % 2], f"user {n}"))
            await visitor.next()
        async with sockets.visit(chats[0]) as fifth:
            await fifth.next()
            frame, code = await sockets.refusal(chats[1])
            assert (frame["error_code"], code) == ("RATE_LIMITED", 4429)
            other = await world.organisation()
            theirs = await make(world, other)
            async with sockets.visit(theirs["id"], "user123", other) as visitor:
                assert (await visitor.next())["event_type"] == "connection_established"
        async with asyncio.timeout(5):
            while True:
                async with sockets.visit(chats[0]) as again:
                    if (await again.next())["event_type"] == "connection_established":
                        break


async def test_who_says_nothing_for_long_is_sent_away(
    tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream
) -> None:
    async with open_world(tmp_path / "data", clock, upstream, lexicon_idle_s=1.0) as world:
        object.__setattr__(world.system.limits, "sse_heartbeat_s", 0.05)
        async with sockets_of(world) as sockets:
            chat = await make(world)
            async with sockets.visit(chat["id"]) as visitor:
                for _ in range(3):
                    await asyncio.sleep(0.6)
                    await visitor.say("Hi")
                    await visitor.until("message_stream_ended")
                assert await visitor.closed() == 1001
