"""Readers of event streams who never read, who are more than they may be, or who may not read any longer.

The server is real and in the test's own process, so that its open streams can be counted.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from tests.journal_reader import API, Reader, Transport
from tests.unit.edge.serving import Running, running, small_window, with_lifespan
from tests.upstream import ScriptedUpstream
from tests.world import Caller, FakeClock, World, open_world

STALL_S = 1.5
SLACK_S = 4.0  # two for the promise, two for a busy machine
HOSTILE, HEALTHY = 100, 5
PAGE_BYTES = 90_000
REVOKED_WITHIN_S = 5.0
STREAMING: tuple[Transport, ...] = ("sse", "ws")
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
MANY = {"streams_per_principal_max": 1000, "streams_per_organisation_max": 1000}


class Served:
    """A world behind a real socket."""

    def __init__(self, world: World, server: Running) -> None:
        self.world = world
        self.server = server

    @property
    def open_streams(self) -> int:
        return self.world.server.house.streams.count

    def session(self, caller: Caller | None = None) -> aiohttp.ClientSession:
        """A client with somebody's key; None is the owner's."""
        return aiohttp.ClientSession(
            f"http://127.0.0.1:{self.server.port}",
            headers=(caller or self.world.owner).bearer,
            connector=aiohttp.TCPConnector(limit=0),
        )

    def hostile(self, path: str) -> socket.socket:
        """A client that asks and never reads."""
        client = small_window(self.server.port)
        key = self.world.owner.bearer["Authorization"]
        upgrade = UPGRADE if "/ws" in path else ""
        client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {key}\r\n{upgrade}\r\n".encode())
        return client

    async def until_streams(self, count: int, within_s: float) -> None:
        """Wait until so many are open."""
        until = monotonic() + within_s
        while self.open_streams != count:
            assert monotonic() < until, f"{self.open_streams} streams are open, not {count}"
            await asyncio.sleep(0.01)


@asynccontextmanager
async def served(data: Path, **settings: Any) -> AsyncIterator[Served]:
    async with (
        ScriptedUpstream() as upstream,
        open_world(data, FakeClock(), upstream, **settings) as world,
        running(with_lifespan(world.server.edge), world.system.limits) as server,
    ):
        try:
            yield Served(world, server)
        finally:
            world.server.house.tail.close()


async def chat_of(world: World, **fields: Any) -> str:
    chat_id: str = (await world.native("POST", "/chats", title="A chat", **fields))["id"]
    return chat_id


async def say(world: World, chat_id: str, text: str, count: int = 1) -> None:
    said = [{"role": "user", "content": text}] * count
    await world.native("POST", f"/chats/{chat_id}/messages", messages=said)


async def test_who_never_reads_is_gone_and_the_others_are_served(tmp_path: Path) -> None:
    async with served(tmp_path / "data", write_stall_s=STALL_S, **MANY) as place, place.session() as session:
        world, chat_id = place.world, await chat_of(place.world)
        await say(world, chat_id, "x" * PAGE_BYTES, 6)
        healthy = [Reader(chat_id, STREAMING[number % 2]) for number in range(HEALTHY)]
        reading = [asyncio.create_task(reader.follow(session)) for reader in healthy]
        await asyncio.gather(*(reader.until(7) for reader in healthy))
        here = f"{API}/chats/{chat_id}"
        lexicons = f"/ws/chat?user_id={world.owner.principal_id}&chat_id={chat_id}&after=0"
        paths = (f"{here}/events?after=0", f"{here}/events", f"{here}/ws?after=0", lexicons)
        clients = [place.hostile(paths[number % len(paths)]) for number in range(HOSTILE)]
        await place.until_streams(HOSTILE + HEALTHY, within_s=20)
        seq, began = 7, monotonic()
        while place.open_streams > HEALTHY:
            assert monotonic() - began < STALL_S * 2 + SLACK_S, f"{place.open_streams} streams are still open"
            await say(world, chat_id, "And on")
            seq += 1
            await asyncio.gather(*(reader.until(seq, within_s=2) for reader in healthy))
        assert [each["seq"] for each in healthy[0].seen] == list(range(1, seq + 1))
        assert place.open_streams == HEALTHY
        for client in clients:
            client.close()
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        await place.until_streams(0, within_s=2)


async def test_a_reader_who_may_not_read_any_longer_is_sent_away(tmp_path: Path) -> None:
    async with served(tmp_path / "data", **MANY) as place:
        world = place.world
        chat_id = await chat_of(world, visibility="organization")
        own_id = await chat_of(world, visibility="organization")
        people = [await world.person() for _ in range(3)]
        tenant = await world.organisation()
        theirs_id = (await world.native("POST", "/chats", tenant, title="Theirs"))["id"]

        async def close(_: Caller) -> None:
            await world.native("PATCH", f"/chats/{own_id}", visibility="private")

        plans: list[tuple[Caller, str, Callable[[Caller], Awaitable[None]], str]] = [
            (people[0], chat_id, world.revoke, "invalid_credential"),
            (people[1], chat_id, world.disable, "invalid_credential"),
            (people[2], own_id, close, "not_found"),
            (tenant, theirs_id, world.suspend, "invalid_credential"),
        ]
        all_here = asyncio.Barrier(len(plans))
        await asyncio.gather(*(sent_away(place, all_here, *plan) for plan in plans))
        await place.until_streams(0, within_s=2)


async def sent_away(
    place: Served,
    all_here: asyncio.Barrier,
    who: Caller,
    chat_id: str,
    shut: Callable[[Caller], Awaitable[None]],
    code: str,
) -> None:
    """Readers who read until they are shut out, and learn why."""
    async with place.session(who) as session:
        readers = [Reader(chat_id, transport) for transport in STREAMING]
        reading = [asyncio.create_task(reader.follow(session)) for reader in readers]
        await asyncio.gather(*(reader.until(1) for reader in readers))
        head = readers[0].after
        asking = asyncio.create_task(
            status_of(session, f"{API}/chats/{chat_id}/events?after={head}&wait_s=60")
        )
        await place.until_streams(all_here.parties * (len(STREAMING) + 1), within_s=5)
        await all_here.wait()
        await shut(who)
        await asyncio.wait_for(asyncio.gather(*reading, asking), REVOKED_WITHIN_S)
        assert asking.result() == (404 if code == "not_found" else 401)
        assert [refusal["code"] for reader in readers for refusal in reader.refusals] == [code, code]
        assert await status_of(session, readers[0].path) == (404 if code == "not_found" else 401)


async def status_of(session: aiohttp.ClientSession, path: str) -> int:
    async with session.get(path) as answer:
        return answer.status


async def test_streams_are_bounded_for_a_person_a_tenant_and_the_server(tmp_path: Path) -> None:
    bounds = {"streams_per_principal_max": 2, "streams_per_organisation_max": 3, "streams_max": 4}
    async with served(tmp_path / "data", **bounds) as place, place.session() as session:
        world, chat_id = place.world, await chat_of(place.world, visibility="organization")
        path = f"{API}/chats/{chat_id}/events"
        open_ones = [await session.get(f"{path}?after=0"), await session.get(path)]
        assert [each.status for each in open_ones] == [200, 200]
        await refused(session, path)
        await refused(session, f"{path}?after=1&wait_s=1")
        async with session.get(f"{path}?wait_s=0") as answer:
            assert answer.status == 200, "a look at what is there is no stream"
        async with place.session(await world.person()) as second, second.get(path) as third:
            assert third.status == 200
            await refused(second, path)
            async with place.session(other := await world.organisation()) as elsewhere:
                theirs = (await world.native("POST", "/chats", other, title="Theirs"))["id"]
                async with elsewhere.get(f"{API}/chats/{theirs}/events") as fourth:
                    assert fourth.status == 200
                    await refused(elsewhere, f"{API}/chats/{theirs}/events")
        open_ones.pop().close()
        await place.until_streams(1, within_s=2)
        async with session.get(path) as again:
            assert again.status == 200
        open_ones.pop().close()
        await place.until_streams(0, within_s=2)


async def refused(session: aiohttp.ClientSession, path: str) -> None:
    async with session.get(path) as answer:
        problem = await answer.json()
        assert (answer.status, problem["code"]) == (429, "rate_limited")
        assert int(answer.headers["retry-after"]) >= 1
