"""What the SQLite engine's one writer promises beyond the port: group commit, snapshots, other processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from chatkeep.domain.errors import ChatkeepError, Conflict, StoreBusy, StoreLost
from chatkeep.store import sqlite_writer
from chatkeep.store.driver import Transaction
from chatkeep.store.sqlite import SqliteStore
from tests.contract.store.brittle import brittle_disk
from tests.contract.store.conftest import SqlitePlace
from tests.contract.store.gate import Gate, behind
from tests.contract.store.listening import Heard, announcing
from tests.contract.store.place import ACME, add_agent, agents, count_agents, found
from tests.contract.store.transactions import adding
from tests.crash import wal

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
async def store(sqlite_place: SqlitePlace) -> SqliteStore:
    opened = sqlite_place.open()
    await found(opened, ACME)
    return opened


async def test_what_waits_for_a_commit_shares_the_next_one(
    store: SqliteStore, sqlite_place: SqlitePlace
) -> None:
    before = wal.commits(sqlite_place.wal)
    gate = Gate()
    first = await behind(store, gate)
    waiting = [asyncio.create_task(store.write(ACME, adding(f"a{number}"))) for number in range(64)]
    await asyncio.sleep(0)
    gate.may_go.set()
    await asyncio.gather(first, *waiting)
    assert wal.commits(sqlite_place.wal) == before + 1  # the gate's own transaction wrote nothing
    assert await store.read(ACME, count_agents) == 64


async def test_what_comes_in_one_turn_of_the_loop_shares_a_commit_though_the_writer_is_idle(
    store: SqliteStore, sqlite_place: SqlitePlace
) -> None:
    work = partial(time.sleep, 0.01)  # the other requests of the turn; the writer could commit meanwhile

    async def client(number: int) -> None:
        work()
        await store.write(ACME, adding(f"a{number}"))

    before = wal.commits(sqlite_place.wal)
    await asyncio.gather(*(client(number) for number in range(8)))
    assert wal.commits(sqlite_place.wal) == before + 1


async def test_sixty_four_writers_need_far_fewer_commits(
    store: SqliteStore, sqlite_place: SqlitePlace
) -> None:
    async def client(number: int) -> None:
        for turn in range(5):
            await store.write(ACME, adding(f"a{number}.{turn}"))

    before = wal.commits(sqlite_place.wal)
    await asyncio.gather(*map(client, range(64)))
    assert 5 <= wal.commits(sqlite_place.wal) - before <= 80  # of 320; 10 when nothing else runs


async def test_a_failing_body_in_a_group_undoes_only_itself(
    store: SqliteStore, sqlite_place: SqlitePlace
) -> None:
    async def body(tx: Transaction, number: int) -> None:
        await add_agent(tx, f"a{number}")
        await add_agent(tx, "the same" if number % 2 else f"b{number}")

    before = wal.commits(sqlite_place.wal)
    gate = Gate()
    first = await behind(store, gate)
    waiting = [asyncio.create_task(store.write(ACME, partial(body, number=number))) for number in range(10)]
    await asyncio.sleep(0)
    gate.may_go.set()
    await first
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), type(None)] + [type(None), Conflict] * 4
    assert wal.commits(sqlite_place.wal) == before + 1
    good = [number for number in range(10) if number < 3 or number % 2 == 0]
    assert await store.read(ACME, agents) == sorted(
        [f"a{number}" for number in good] + [f"b{number}" for number in range(0, 10, 2)] + ["the same"]
    )


async def test_nothing_is_acknowledged_before_it_is_synced(sqlite_place: SqlitePlace) -> None:
    with brittle_disk() as disk:
        store = sqlite_place.open()
        await found(store, ACME)
        for number in range(10):
            before = disk.wal_syncs
            await store.write(ACME, adding(f"a{number}"))
            assert disk.wal_syncs > before
        await store.close()


async def test_after_a_failed_sync_nothing_is_acknowledged_any_more(sqlite_place: SqlitePlace) -> None:
    """Nobody knows then what is on disk; only a restart, which reads the log again, can tell."""
    with brittle_disk() as disk:
        store = sqlite_place.open()
        await found(store, ACME)
        gate = Gate()
        first = await behind(store, gate)
        heard = Heard(store)
        waiting = [asyncio.create_task(store.write(ACME, announcing(number))) for number in range(5)]
        await asyncio.sleep(0)
        disk.is_broken = True
        gate.may_go.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results} == {StoreLost}
        assert heard.numbers == []
        await first
        disk.is_broken = False
        assert not store.is_healthy()
        with pytest.raises(StoreLost):
            await store.write(ACME, adding("more"))
        assert await store.read(ACME, count_agents) == 0
        await store.close()
    again = sqlite_place.open()
    assert await again.read(ACME, count_agents) in (0, 5)
    await again.write(ACME, adding("more"))


async def test_more_than_can_wait_is_refused_at_once(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "QUEUE_MAX", 8)
    gate = Gate()
    first = await behind(store, gate)
    waiting = [asyncio.create_task(store.write(ACME, adding(f"a{number}"))) for number in range(20)]
    refused, _ = await asyncio.wait(waiting, timeout=0.05)
    assert {type(task.exception()) for task in refused} == {StoreBusy}
    gate.may_go.set()
    await first
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [result is None for result in results] == [True] * 8 + [False] * 12
    assert await store.read(ACME, count_agents) == 8


async def test_a_read_is_one_snapshot(store: SqliteStore) -> None:
    is_read, may_go = threading.Event(), threading.Event()

    async def twice(tx: Transaction) -> tuple[int, int]:
        before = await count_agents(tx)
        is_read.set()
        assert may_go.wait(10)
        return before, await count_agents(tx)

    reading = asyncio.create_task(store.read(ACME, twice))
    await asyncio.to_thread(is_read.wait, 10)
    await store.write(ACME, adding("a"))
    may_go.set()
    assert await reading == (0, 0)
    assert await store.read(ACME, count_agents) == 1


async def test_a_peek_is_one_snapshot_too(store: SqliteStore) -> None:
    async def twice(tx: Transaction) -> tuple[int, int]:
        before = await count_agents(tx)
        writing = threading.Thread(target=lambda: asyncio.run(store.write(ACME, adding("a"))))
        writing.start()
        writing.join(10)
        return before, await count_agents(tx)

    assert await store.peek(ACME, twice) == (0, 0)
    assert await store.peek(ACME, count_agents) == 1


async def test_a_body_that_awaits_anything_else_is_refused(store: SqliteStore) -> None:
    async def body(tx: Transaction) -> None:
        await add_agent(tx, "a")
        await asyncio.sleep(0)

    with pytest.raises(AssertionError):
        await store.write(ACME, body)
    assert await store.read(ACME, count_agents) == 0


async def test_a_loop_that_went_away_does_not_stop_the_writer(store: SqliteStore) -> None:
    gate = Gate()

    def other_loop() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(store.write(ACME, gate.body))
        loop.run_until_complete(asyncio.sleep(0))
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()

    await asyncio.to_thread(other_loop)
    gate.may_go.set()
    await asyncio.wait_for(store.write(ACME, adding("a")), 10)
    assert await store.read(ACME, count_agents) == 1


async def test_nothing_is_left_hanging_by_a_close(sqlite_place: SqlitePlace) -> None:
    """Writes that race with the end are either done or refused."""
    for _ in range(20):
        store = sqlite_place.open()

        async def client(store: SqliteStore = store) -> None:
            while True:
                await store.write(None, _nothing)

        clients = [asyncio.create_task(client()) for _ in range(4)]
        await asyncio.sleep(0.001)
        await store.close()
        ends = await asyncio.wait_for(asyncio.gather(*clients, return_exceptions=True), 10)
        assert all(isinstance(end, ChatkeepError) for end in ends)


async def test_a_log_that_is_written_while_it_is_folded_still_begins_anew(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the log of a writer that never rests would grow for ever: 60 MB a second were measured."""
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_PATIENCE_MS", 5_000)
    store = sqlite_place.open()
    await found(store, ACME)
    gate = Gate()

    async def late(tx: Transaction) -> None:
        await gate.body(tx)
        await add_agent(tx, "late")

    before = wal.salts(sqlite_place.wal)
    writing = asyncio.create_task(store.write(ACME, late))
    await asyncio.to_thread(gate.is_entered.wait, 10)
    folding = asyncio.create_task(asyncio.to_thread(store._checkpointer._fold, "RESTART"))
    await asyncio.sleep(0.05)  # what can be folded beside the writer is folded by now
    gate.may_go.set()
    await asyncio.gather(writing, folding)
    await store.write(ACME, adding("after"))
    assert wal.salts(sqlite_place.wal) != before


async def test_a_reader_that_stays_long_does_not_hold_up_the_writer(
    sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_WAL_BYTES", 1)
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_INTERVAL_S", 0.1)
    store = sqlite_place.open()
    await found(store, ACME)
    gate = Gate()
    reading = asyncio.create_task(store.read(ACME, gate.body))
    await asyncio.to_thread(gate.is_entered.wait, 10)
    for number in range(10):
        await asyncio.wait_for(store.write(ACME, adding(f"a{number}")), 5)
        await asyncio.sleep(0.03)
    gate.may_go.set()
    await reading


async def test_another_process_writes_beside_a_busy_server(
    store: SqliteStore, sqlite_place: SqlitePlace
) -> None:
    """The command line does its errands on the data folder of a server under load, and nobody is told `busy`."""
    command = [sys.executable, "-m", "tests.contract.store.errand", str(sqlite_place.path), "30"]
    other = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    assert other.stdout is not None
    await other.stdout.readline()  # it is open

    async def client(number: int) -> int:
        turn = 0
        while other.returncode is None:
            await store.write(ACME, adding(f"server {number}.{turn}"))
            turn += 1
        return turn

    clients = [asyncio.create_task(client(number)) for number in range(16)]
    assert await asyncio.wait_for(other.wait(), 60) == 0
    written = sum(await asyncio.gather(*clients))
    assert written > 0
    assert await store.read(ACME, count_agents) == written + 30
    assert await store.recall(ACME, "count", count_agents) == written + 30


async def _nothing(tx: Transaction) -> None:
    await tx.all("system_organisations_all")
