"""Readers of one chat over real sockets, cut off at random bytes: each sees the journal, whole, in order and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chatkeep.domain.limits import Limits
from chatkeep.runtime import sweeper
from tests.crash.journal_judge import against, examine_journals, journal
from tests.crash.storyteller import Storyteller, is_told, question
from tests.flows.office import idle
from tests.journal_reader import TRANSPORTS, Reader, Transport
from tests.unit.edge.serving import running, with_lifespan
from tests.world import FakeClock, World, open_world

pytestmark = pytest.mark.asyncio(loop_scope="session")

TICK_S = 0.002
FOLD_AFTER_S = 60
Cuts = list[tuple[Transport, int, float]]  # by which transport, after how many bytes, and how long away then
CUTS = st.lists(
    st.tuples(
        st.sampled_from(["sse", "ws", "poll"]), st.integers(0, 3_000), st.sampled_from([0.0, 0.003, 0.02])
    ),
    max_size=8,
)
VERBS = st.lists(
    st.tuples(
        st.sampled_from(["generate", "stop", "append", "continue", "regenerate", "title"]), st.integers(1, 40)
    ),
    min_size=1,
    max_size=5,
)


class Streams:
    """A server behind a real socket, and a session to it."""

    def __init__(
        self, world: World, upstream: Storyteller, session: aiohttp.ClientSession, data: Path
    ) -> None:
        self.world = world
        self.upstream = upstream
        self.session = session
        self.database = data / "chatkeep.db"
        self.count = 0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def streams(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Streams]:
    data = tmp_path_factory.mktemp("streams") / "data"
    limits: dict[str, Any] = {"streams_per_principal_max": 1000, "streams_per_organisation_max": 1000}
    async with (
        Storyteller(pace_s=0.0005) as upstream,
        open_world(data, FakeClock(), upstream, fold_after_s=FOLD_AFTER_S, **limits) as world,
        running(with_lifespan(world.server.edge), Limits()) as server,
        aiohttp.ClientSession(
            f"http://127.0.0.1:{server.port}",
            headers=world.owner.bearer,
            connector=aiohttp.TCPConnector(limit=0),
        ) as session,
    ):
        world.server.house.runner._deltas._tick_s = TICK_S
        yield Streams(world, upstream, session, data)


async def act(streams: Streams, chat_id: str, verbs: list[tuple[str, int]]) -> None:
    """One verb after the other."""
    world, path = streams.world, f"/chats/{chat_id}"
    for verb, count in verbs:
        streams.count += 1
        asked = question(count, f"story{streams.count}")
        has_answer = any(
            each["role"] == "assistant" for each in (await world.native("GET", f"{path}/messages"))["items"]
        )
        if verb == "append":
            await world.native("POST", f"{path}/messages", messages=[{"role": "user", "content": asked}] * 3)
        elif verb == "title":
            await world.native("PATCH", path, title=asked)
        elif verb in ("continue", "regenerate") and has_answer:
            answer = (await world.native("GET", f"{path}/messages?order=desc"))["items"]
            last = next(each["id"] for each in answer if each["role"] == "assistant")
            await world.native("POST", f"{path}/{verb}", message_id=last)
        else:
            doing = asyncio.ensure_future(world.native("POST", f"{path}/generate", message=asked))
            if verb == "stop":
                await asyncio.wait([doing], timeout=count / 2_000)
                await world.native("POST", f"{path}/stop", run_id=None)
            await doing


async def read_with(streams: Streams, reader: Reader, cuts: Cuts) -> None:
    """Be cut off as planned, then read on undisturbed until cancelled."""
    for transport, bytes_max, away_s in cuts:
        reader.transport = transport
        await reader.once(streams.session, bytes_max)
        await asyncio.sleep(away_s)
    await reader.follow(streams.session)


@asynccontextmanager
async def under_way(*reading: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let them read for as long as the block lasts."""
    tasks = [asyncio.ensure_future(each) for each in reading]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_all_have_it(streams: Streams, chat_id: str, readers: list[Reader]) -> None:
    """Wait until every reader has the whole journal, and find nothing wrong with any of them."""
    fresh = await streams.world.native("GET", f"/chats/{chat_id}")
    messages = (await streams.world.native("GET", f"/chats/{chat_id}/messages?branch=all&limit=100"))["items"]
    lines = journal(streams.database, chat_id)
    for reader in readers:
        await reader.until(fresh["version"], within_s=30)
        assert reader.breaches == []
        assert against(reader, lines) == []
        assert reader.copy.differs_from(fresh, messages) == {}
    assert all(is_told(each["content"]) for each in messages if each["role"] == "assistant")


@settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    phases=[
        Phase.explicit,
        Phase.generate,
    ],  # what is random here is also when things happen: it shrinks to nothing
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(verbs=VERBS, first=CUTS, second=CUTS, folds=st.booleans())
async def test_what_any_reader_puts_together_is_the_journal(
    streams: Streams, verbs: list[tuple[str, int]], first: Cuts, second: Cuts, *, folds: bool
) -> None:
    world = streams.world
    chat_id = (await world.native("POST", "/chats", title="A chat"))["id"]
    early = [Reader(chat_id), Reader(chat_id), Reader(chat_id, after=None)]
    cuts = (first, second, first[::-1])
    async with under_way(*(read_with(streams, *each) for each in zip(early, cuts, strict=True))):
        await act(streams, chat_id, verbs)
        await idle(world)
        await until_all_have_it(streams, chat_id, early)
    if folds:
        world.clock.advance(FOLD_AFTER_S + 1)
        await sweeper.sweep(world.system)
    known = [0, *(event["seq"] for event in early[0].seen[:: max(1, len(early[0].seen) // 5)])]
    late = [early[0].as_of(seq, TRANSPORTS[place % 3]) for place, seq in enumerate(known)]
    late += [Reader(chat_id, transport, after=None) for transport in TRANSPORTS]
    async with under_way(*(reader.follow(streams.session) for reader in late)):
        await until_all_have_it(streams, chat_id, late)
    if folds and any(event["type"] == "run.delta" for event in early[0].seen):
        assert late[0].seen[0]["type"] == "snapshot"
    assert examine_journals(streams.database) == []
    assert streams.upstream.strange == []


async def test_a_reader_far_behind_gets_everything_at_once(streams: Streams) -> None:
    world = streams.world
    chat = await world.native("POST", "/chats", title="A long one")
    said = [{"role": "user", "content": "a"}] * 100
    for _ in range(5):
        await world.native("POST", f"/chats/{chat['id']}/messages", messages=said)
    for transport in TRANSPORTS:
        reader = Reader(chat["id"], transport)
        async with under_way(reader.follow(streams.session)):
            await reader.until(501, within_s=world.system.limits.stream_recheck_s / 2)
        assert [event["seq"] for event in reader.seen] == list(range(1, 502))


async def test_two_tabs_and_a_crowd_read_the_same_bytes(streams: Streams) -> None:
    world = streams.world
    chat = await world.native("POST", "/chats", title="A chat")
    crowd = [Reader(chat["id"]) for _ in range(100)]
    async with under_way(*(reader.follow(streams.session) for reader in crowd)):
        await act(streams, chat["id"], [("generate", 40), ("generate", 10)])
        await until_all_have_it(streams, chat["id"], crowd)
    late = Reader(chat["id"])
    async with under_way(late.follow(streams.session)):
        await until_all_have_it(streams, chat["id"], [late])
    assert all(reader.seen == late.seen for reader in crowd)
