"""Several servers of one database: what they know of each other, and what they count together."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from chatkeep import __version__
from chatkeep.domain.errors import RateLimited, StoreRefused
from chatkeep.services import nodes
from tests.flows.command_line import run, start
from tests.flows.lexicon_client import CHATS, ask, make
from tests.flows.lexicon_socket import sockets_of
from tests.upstream import ScriptedUpstream
from tests.world import NATIVE, FakeClock, World, open_world

pytestmark = pytest.mark.postgres


@pytest.fixture
async def both(
    tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream, database: str
) -> AsyncIterator[tuple[World, World]]:
    """Two servers, each with a data folder of its own, and the same secrets."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            open_world(tmp_path / "a", clock, upstream, node_name="a", streams_per_principal_max=3)
        )
        shutil.copytree(tmp_path / "a" / "secrets", tmp_path / "b" / "secrets")
        second = await stack.enter_async_context(
            open_world(tmp_path / "b", clock, upstream, node_name="b", streams_per_principal_max=3)
        )
        yield first, second


async def test_each_is_listed_until_it_ends(both: tuple[World, World], tmp_path: Path) -> None:
    async with asyncio.timeout(5):
        while len(await nodes.living(both[0].system)) < 2:  # noqa: ASYNC110 - the first sign of each comes by itself
            await asyncio.sleep(0.01)
    for world in both:
        await nodes.beat(world.system, streams_count=2, run_ids=())
    found = await nodes.living(both[0].system)
    assert [(each.name, each.version, each.streams) for each in found] == [
        ("a", __version__, 2),
        ("b", __version__, 2),
    ]
    await nodes.leave(both[1].system)
    assert [each.name for each in await nodes.living(both[0].system)] == ["a"]
    both[0].clock.advance(31)
    assert await nodes.living(both[0].system) == []


async def test_what_is_written_at_one_is_read_at_the_other_at_once(both: tuple[World, World]) -> None:
    a, b = both
    chat = await a.native("POST", "/chats", title="T")
    for number in range(20):
        await a.native("PATCH", f"/chats/{chat['id']}", title=f"T{number}")
        assert (await b.native("GET", f"/chats/{chat['id']}", a.owner))["title"] == f"T{number}"


async def test_a_reader_at_one_hears_of_what_the_other_writes(both: tuple[World, World]) -> None:
    a, b = both
    chat = await a.native("POST", "/chats", title="T")
    waiting = asyncio.create_task(b.native("GET", f"/chats/{chat['id']}/events?after=1&wait_s=20", a.owner))
    await asyncio.sleep(0.1)
    await a.native("PATCH", f"/chats/{chat['id']}", title="New")
    async with asyncio.timeout(5):
        page = await waiting
    assert [(each["seq"], each["type"]) for each in page["items"]] == [(2, "chat.updated")]


async def test_streams_of_one_caller_are_counted_together(both: tuple[World, World]) -> None:
    a, b = both
    for world in both:
        await nodes.beat(world.system, streams_count=0, run_ids=())
    ctx_a, ctx_b = a._operator(a.owner), b._operator(a.owner)
    async with a.server.house.streams.admitted(ctx_a), b.server.house.streams.admitted(ctx_b):
        async with b.server.house.streams.admitted(ctx_b):
            for world, ctx in ((a, ctx_a), (b, ctx_b)):
                with pytest.raises(RateLimited):
                    async with world.server.house.streams.admitted(ctx):
                        raise AssertionError("let in")
            await b.server.house.streams.tell()
        await b.server.house.streams.tell()
        async with a.server.house.streams.admitted(ctx_a):
            pass
    for world in both:
        await world.server.house.streams.tell()
    b.clock.advance(31)
    await nodes.beat(a.system, streams_count=0, run_ids=())
    async with AsyncExitStack() as stack:  # and those of a node that is heard of no more do not count
        for _ in range(3):
            await stack.enter_async_context(a.server.house.streams.admitted(ctx_a))


async def test_one_of_them_sweeps_and_another_one_once_it_is_gone(both: tuple[World, World]) -> None:
    a, b = both
    assert await nodes.has_duty(a.system, "test", for_s=30)
    assert not await nodes.has_duty(b.system, "test", for_s=30)
    assert await nodes.has_duty(a.system, "test", for_s=30)
    a.clock.advance(30)
    assert await nodes.has_duty(b.system, "test", for_s=30)
    assert not await nodes.has_duty(a.system, "test", for_s=30)


async def test_a_node_with_other_secrets_is_refused_until_they_are_declared_the_new_ones(
    tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream, database: str
) -> None:
    async with open_world(tmp_path / "a", clock, upstream) as world:
        owner = world.owner
    with pytest.raises(StoreRefused, match="secrets"):
        async with open_world(tmp_path / "b", clock, upstream):
            raise AssertionError("let in")
    process = await start("serve", "--port", "0", "--data", str(tmp_path / "b"), local_model="false")
    _, err = await process.communicate()
    assert process.returncode == 3
    assert b"The secrets of this node are not those" in err
    assert (await run("migrate", "--new-secrets", "--data", str(tmp_path / "b"))).code == 0
    async with open_world(tmp_path / "b", clock, upstream) as world:
        answer = await world.client.get(f"{NATIVE}/me", headers=owner.bearer)
        assert answer.status_code == 401


async def test_workers_share_a_port_and_one_that_dies_is_replaced(tmp_path: Path, database: str) -> None:
    arguments = ("serve", "--port", "0", "--data", str(tmp_path / "data"), "--workers", "2")
    process = await start(*arguments, local_model="false", log_requests="false", lease_s="3")
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while b"ready at" not in (line := await process.stdout.readline()):
                assert line
            url = line.decode().split()[4]
            first = await _names(url, 2)
            victim = sorted(first)[0]
            killer = await asyncio.create_subprocess_exec("kill", "-9", victim.rpartition("-")[2])
            assert await killer.wait() == 0
            assert len(await _names(url, 2, without=victim)) == 2
        listed = await run("nodes", "--data", str(tmp_path / "data"))
        assert first - {victim} <= set(listed.out.split())
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


async def _names(url: str, count: int, without: str = "") -> set[str]:
    """The nodes that answer there, once there are so many."""
    found: set[str] = set()
    while len(found) < count:
        try:
            async with httpx.AsyncClient() as client:  # a connection of its own, so that either may take it
                found.add((await client.get(f"{url}/ready")).json()["node"])
        except httpx.TransportError:
            await asyncio.sleep(0.05)
        found.discard(without)
    return found


@pytest.mark.sqlite
async def test_a_sqlite_file_has_one_server(tmp_path: Path) -> None:
    process = await start("serve", "--data", str(tmp_path / "data"), "--workers", "2")
    _, err = await process.communicate()
    assert process.returncode == 1
    assert b"need PostgreSQL" in err


async def test_a_chat_is_not_deleted_at_one_while_a_socket_is_open_at_the_other(
    both: tuple[World, World],
) -> None:
    a, b = both
    chat = await make(a)
    async with sockets_of(a) as sockets, sockets.visit(chat["id"]) as visitor:
        await visitor.next()
        assert (await ask(b, "DELETE", f"{CHATS}/{chat['id']}", a.owner)).status_code == 409
    async with asyncio.timeout(5):
        while (await ask(b, "DELETE", f"{CHATS}/{chat['id']}", a.owner)).status_code == 409:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    assert (await ask(a, "GET", f"{CHATS}/{chat['id']}")).status_code == 404


async def test_what_is_said_at_one_is_heard_at_the_other(both: tuple[World, World]) -> None:
    a, b = both
    chat = await make(a)
    async with (
        sockets_of(a) as here,
        sockets_of(b) as there,
        here.visit(chat["id"]) as asker,
        there.visit(chat["id"], "user123", a.owner) as listener,
    ):
        await asker.next()
        await listener.next()
        await asker.say("Hi")
        assert await listener.until("message_stream_ended") == await asker.until("message_stream_ended")


async def test_requests_of_a_minute_are_counted_together(
    tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream, database: str
) -> None:
    async with AsyncExitStack() as stack:
        limit = {"lexicon_requests_per_minute": 100}
        a = await stack.enter_async_context(open_world(tmp_path / "a", clock, upstream, **limit))
        shutil.copytree(tmp_path / "a" / "secrets", tmp_path / "b" / "secrets")
        b = await stack.enter_async_context(open_world(tmp_path / "b", clock, upstream, **limit))
        chat = await make(a)
        for _ in range(2):
            admitted = 0
            for number in range(130):
                world = (a, b)[number % 3 == 0]
                answer = await ask(world, "GET", f"{CHATS}/{chat['id']}", a.owner)
                admitted += answer.status_code == 200
            assert 90 <= admitted <= 100
            clock.advance(61)


async def test_the_sockets_of_a_node_that_died_count_no_more(both: tuple[World, World]) -> None:
    a, b = both
    chat = await make(a)
    async with sockets_of(a) as sockets, sockets.visit(chat["id"]) as visitor:
        await visitor.next()
        assert (await ask(b, "DELETE", f"{CHATS}/{chat['id']}", a.owner)).status_code == 409
        b.clock.advance(31)  # nothing was heard of the first one for a lease's time
        await nodes.beat(b.system, streams_count=0, run_ids=())
        assert (await ask(b, "DELETE", f"{CHATS}/{chat['id']}", a.owner)).status_code == 200
