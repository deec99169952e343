"""A full disk costs nothing but the writes it refuses, and needs no restart (trust.md T7, F15)."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import apsw
import pytest

from chatkeep.domain.errors import StoreFull
from chatkeep.store.driver import Transaction
from chatkeep.store.sqlite import SqliteStore
from tests.contract.store.conftest import SqlitePlace
from tests.contract.store.gate import Gate, behind
from tests.contract.store.place import ACME, add_agent, agents, count_agents, found
from tests.contract.store.transactions import adding

ROOT = Path(__file__).resolve().parents[3]
PAGES_MAX = 2**32 - 2
BIG = "x" * 50_000


@pytest.fixture
async def store(sqlite_place: SqlitePlace) -> SqliteStore:
    opened = sqlite_place.open()
    await found(opened, ACME)
    return opened


def set_room(store: SqliteStore, pages: int | None) -> None:
    """Let the file grow by so many pages and no more; None lifts the limit. Nothing may be being written."""
    connection = store._writer.connection
    present = connection.pragma("page_count")
    connection.pragma("max_page_count", PAGES_MAX if pages is None else present + pages)


async def add_big(tx: Transaction, agent_id: str) -> None:
    await add_agent(tx, agent_id, name=BIG)


async def fill(store: SqliteStore) -> int:
    """Write until it is full; how many rows were taken."""
    for number in range(1_000):
        try:
            await store.write(ACME, partial(add_big, agent_id=f"big{number:03}"))
        except StoreFull:
            return number
    raise AssertionError("it never became full")


async def test_a_full_store_keeps_what_it_has_and_takes_more_once_there_is_room(
    store: SqliteStore, sqlite_place: SqlitePlace
) -> None:
    set_room(store, 40)
    written = await fill(store)
    assert written > 0
    assert store.is_healthy()
    assert await store.peek(ACME, count_agents) == written
    with pytest.raises(StoreFull):
        await store.write(ACME, partial(add_big, agent_id="more"))
    check = apsw.Connection(str(sqlite_place.path), flags=apsw.SQLITE_OPEN_READONLY)
    assert check.pragma("integrity_check") == "ok"
    check.close()
    set_room(store, None)
    await store.write(ACME, partial(add_big, agent_id="more"))
    assert await store.read(ACME, count_agents) == written + 1


async def test_in_a_group_those_told_they_are_written_are(store: SqliteStore) -> None:
    """Whether SQLite undoes the statement or the whole transaction is its choice; the answers must be true."""
    set_room(store, 40)
    await fill(store)

    async def body(tx: Transaction, number: int) -> str:
        await add_agent(tx, f"group{number}", name=BIG if number % 4 == 3 else "small")
        return f"group{number}"

    for _ in range(3):
        writes = [store.write(ACME, partial(body, number=number)) for number in range(20)]
        results = await asyncio.gather(*writes, return_exceptions=True)
        told = {result for result in results if isinstance(result, str)}
        there = {name for name in await store.read(ACME, agents) if name.startswith("group")}
        assert told == there
        assert StoreFull in {type(result) for result in results}
        assert store.is_healthy()
        if there:
            break
    set_room(store, None)
    await store.write(ACME, adding("after"))


async def test_in_a_group_those_that_have_room_are_written(store: SqliteStore) -> None:
    set_room(store, 40)
    gate = Gate()
    first = await behind(store, gate)
    names = {f"group{number:02}": BIG * 10 if number == 7 else "small" for number in range(20)}
    writes = [store.write(ACME, partial(add_agent, agent_id=each, name=text)) for each, text in names.items()]
    group = asyncio.gather(*writes, return_exceptions=True)
    await asyncio.sleep(0)
    gate.may_go.set()
    await first
    told = dict(zip(names, await group, strict=True))
    assert isinstance(told.pop("group07"), StoreFull)
    assert set(told.values()) == {None}
    assert await store.read(ACME, agents) == list(told)


def test_a_file_that_may_not_grow_is_a_full_store_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.contract.store.full_disk", str(tmp_path / "chatkeep.db")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["written"] > 0
    assert told == {
        "written": told["written"],
        "refused": 3,
        "group": ["NoneType", "StoreFull", "NoneType"],
        "read": told["written"] + 2,
        "healthy": True,
        "recovered": True,
    }
