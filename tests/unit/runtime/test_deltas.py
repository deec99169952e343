"""What models say on its way into the journal: merged, in order, one piece a chat and tick, never lost or doubled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from chatkeep.domain.errors import StoreLost
from chatkeep.domain.event import Event
from chatkeep.domain.message import NewMessage
from chatkeep.domain.run import Run
from chatkeep.runtime import deltas
from chatkeep.runtime.deltas import DeltaWriter, Growing
from chatkeep.services import runs
from chatkeep.services.generating import Said, StartedRun
from chatkeep.services.wishes import Wish
from chatkeep.store.driver import Transaction
from tests.flows.office import Office
from tests.unit.runtime.following import asked, journal_of
from tests.unit.runtime.test_full_store import limit_pages
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
TICK_S = 0.01
PATIENCE_S = 10.0


@pytest.fixture
def commits(office: Office) -> Iterator[list[list[Event]]]:
    """The pieces of each commit."""
    heard: list[list[Event]] = []

    def listen(events: Sequence[Event]) -> None:
        pieces = [event for event in events if event.text is not None]
        if pieces:
            heard.append(pieces)

    store: Any = office.system.store
    store.listen(listen)
    yield heard
    store._writer.listeners.remove(listen)


def writer_of(office: World, refused: list[Run] | None = None) -> DeltaWriter:
    return DeltaWriter(office.system, ([] if refused is None else refused).append, tick_s=TICK_S)


def growing_of(started: StartedRun) -> Growing:
    """An answer whose message is there already."""
    return Growing(replace(started, is_begun=True))


async def done(writer: DeltaWriter) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while writer._task is not None:
            await asyncio.wait({writer._task})


async def pieces_of(office: Office, started: StartedRun) -> list[tuple[str, str | None]]:
    told = await journal_of(office, started)
    return [
        (event.kind, event.text)
        for event in told
        if event.run_id == started.run.id and event.text is not None
    ]


async def test_pieces_of_one_kind_go_as_one_and_kinds_keep_their_order(office: Office) -> None:
    started, writer = await asked(office), writer_of(office)
    growing = growing_of(started)
    for kind, text in (
        ("run.reasoning", "h"),
        ("run.reasoning", "m"),
        ("run.delta", "a"),
        ("run.delta", "b"),
        ("run.reasoning", "x"),
        ("run.delta", "c"),
    ):
        writer.add(growing, kind, text)  # type: ignore[arg-type]  # kinds of pieces
    await done(writer)
    assert await pieces_of(office, started) == [
        ("run.reasoning", "hm"),
        ("run.delta", "ab"),
        ("run.reasoning", "x"),
        ("run.delta", "c"),
    ]
    assert await writer.settle(growing) == ()


async def test_one_commit_a_tick_for_all_chats(office: Office, commits: list[list[Event]]) -> None:
    started = [await asked(office) for _ in range(5)]
    writer = writer_of(office)
    growing = [growing_of(each) for each in started]
    for text in ("a", "b"):
        for each in growing:
            writer.add(each, "run.delta", text)
        await done(writer)
    assert [[event.text for event in pieces] for pieces in commits] == [["a"] * 5, ["b"] * 5]
    assert [event.chat_id for event in commits[0]] == [each.run.chat_id for each in started]


async def test_a_tick_takes_so_many_answers_and_those_that_wait_longest_first(
    office: Office, commits: list[list[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deltas, "TICK_ANSWERS_MAX", 2)
    starteds, writer = [await asked(office) for _ in range(3)], writer_of(office)
    growings = [growing_of(started) for started in starteds]
    for growing in growings:
        writer.add(growing, "run.delta", "a")
    await asyncio.sleep(0)
    writer.add(growings[0], "run.delta", "b")
    await done(writer)
    told = [[(event.run_id, event.text) for event in commit] for commit in commits]
    one, two, three = (started.run.id for started in starteds)
    assert told == [[(one, "a"), (two, "a")], [(three, "a"), (one, "b")]]


async def test_where_writing_takes_long_the_next_tick_comes_later(
    office: Office, commits: list[list[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deltas, "TICK_SHARE", 100_000.0)
    monkeypatch.setattr(deltas, "TICK_MAX_S", 0.2)
    started, writer = await asked(office), writer_of(office)
    growing, loop = growing_of(started), asyncio.get_running_loop()
    began = loop.time()
    for text in ("a", "b"):
        while growing:  # noqa: ASYNC110 - the writer tells nobody
            await asyncio.sleep(0.001)
        writer.add(growing, "run.delta", text)
    await done(writer)
    assert [[event.text for event in commit] for commit in commits] == [["a"], ["b"]]
    assert loop.time() - began >= 0.2


async def test_of_two_answers_in_one_chat_each_tick_takes_a_piece_of_one(
    office: Office, commits: list[list[Event]]
) -> None:
    first = await asked(office)
    said = [NewMessage("user", "Another question")]
    second = await runs.start(office.context(), first.run.chat_id, said, Wish(if_busy="branch"))
    writer = writer_of(office)
    one, two = growing_of(first), growing_of(second)
    for text in ("a", "b"):
        writer.add(one, "run.delta", text)
        writer.add(two, "run.delta", text.upper())
    writer.add(one, "run.reasoning", "hm")
    await done(writer)
    assert all(len(pieces) == 1 for pieces in commits)
    assert await pieces_of(office, first) == [("run.delta", "ab"), ("run.reasoning", "hm")]
    assert await pieces_of(office, second) == [("run.delta", "AB")]


async def test_what_is_refused_is_told_and_not_written(office: Office) -> None:
    stopped, going = await asked(office), await asked(office)
    await runs.stop(office.context(), stopped.run.chat_id)
    before = await journal_of(office, stopped)
    refused: list[Run] = []
    writer = writer_of(office, refused)
    for each in (stopped, going):
        writer.add(growing_of(each), "run.delta", "word")
    await done(writer)
    assert refused == [stopped.run]
    assert await journal_of(office, stopped) == before
    assert await pieces_of(office, going) == [("run.delta", "word")]


async def test_settling_waits_for_what_is_being_written(office: Office) -> None:
    started, writer = await asked(office), writer_of(office)
    growing = growing_of(started)
    entered, may_go = threading.Event(), threading.Event()

    async def hold(tx: Transaction) -> None:
        entered.set()
        assert may_go.wait(PATIENCE_S)

    holding = asyncio.create_task(office.context().write(hold))
    await asyncio.to_thread(entered.wait, PATIENCE_S)
    writer.add(growing, "run.delta", "written")
    async with asyncio.timeout(PATIENCE_S):
        while growing not in writer._writing:  # noqa: ASYNC110 - the writer tells nobody
            await asyncio.sleep(0)
    writer.add(growing, "run.delta", "not written")
    settling = asyncio.create_task(writer.settle(growing))
    await asyncio.sleep(0)
    assert not settling.done()
    may_go.set()
    await holding
    assert await settling == (Said("run.delta", "not written"),)
    await done(writer)
    assert await pieces_of(office, started) == [("run.delta", "written")]


@pytest.mark.asyncio(loop_scope="function")
async def test_a_full_store_gets_it_all_in_order_once_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deltas, "RETRY_S", 0.01)
    office = Office(world.server, world.clock, world.upstream, world.owner)
    async with office.client:
        started, writer = await asked(office), writer_of(office)
        growing = growing_of(started)
        await limit_pages(world, 1)
        said = [f"{number} {'x' * 90_000}" for number in range(3)]
        writer.add(growing, "run.delta", said[0])
        async with asyncio.timeout(PATIENCE_S):
            while not growing or growing in writer._writing:  # noqa: ASYNC110 - the writer tells nobody
                await asyncio.sleep(0.005)
        assert await pieces_of(office, started) == []
        writer.add(growing, "run.delta", said[1])
        writer.add(growing, "run.reasoning", "hm")
        writer.add(growing, "run.delta", said[2])
        await limit_pages(world, 2**30)
        await done(writer)
        told = await pieces_of(office, started)
        assert [kind for kind, _ in told][-2:] == ["run.reasoning", "run.delta"]
        assert "".join(text for kind, text in told if kind == "run.delta" and text) == "".join(said)


@pytest.mark.asyncio(loop_scope="function")
async def test_what_a_full_store_did_not_take_is_given_back_when_settled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deltas, "RETRY_S", 0.01)
    office = Office(world.server, world.clock, world.upstream, world.owner)
    async with office.client:
        started, writer = await asked(office), writer_of(office)
        growing = growing_of(started)
        await limit_pages(world, 1)
        writer.add(growing, "run.delta", "x" * 90_000)
        await asyncio.sleep(0.03)
        rest = await writer.settle(growing)
        assert rest == (Said("run.delta", "x" * 90_000),)
        await limit_pages(world, 2**30)
        await done(writer)
        assert await pieces_of(office, started) == []


@pytest.mark.parametrize("is_written", [True, False])
async def test_where_nobody_knows_what_was_written_the_answer_ends_without_a_gap_or_a_word_twice(
    office: Office, monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    refused: list[Run] = []
    started, writer = await asked(office), writer_of(office, refused)
    growing = growing_of(started)
    store: Any = office.system.store
    write, is_lost = store.write, False

    async def unknown(*asked_for: Any) -> Any:
        nonlocal is_lost
        if is_lost:
            return await write(*asked_for)
        is_lost = True
        if is_written:
            await write(*asked_for)
        raise StoreLost("whether it was written is not known")

    monkeypatch.setattr(store, "write", unknown)
    writer.add(growing, "run.delta", "first")
    await done(writer)
    writer.add(growing, "run.delta", "second")
    await done(writer)
    assert [run.id for run in refused] == [started.run.id]
    assert await writer.settle(growing) == ()
    assert await pieces_of(office, started) == [("run.delta", "first")] * is_written
