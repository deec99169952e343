"""What is deleted for good is in no file any more, neither in the database nor in its log (trust.md T30)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from chatkeep.runtime.sweeper import sweep
from chatkeep.store import sqlite_writer
from tests.upstream import ScriptedUpstream
from tests.world import NATIVE, FakeClock, World, open_world

pytestmark = pytest.mark.sqlite

PATIENCE_S = 20.0
CANARY = b"canary-"


@pytest.fixture
async def world(
    tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """A server that empties its log every few moments rather than every half minute."""
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_INTERVAL_S", 0.02)
    monkeypatch.setattr(sqlite_writer, "EMPTYING_ROUNDS", 2)
    async with open_world(tmp_path / "data", clock, upstream) as running:
        yield running


def held(folder: Path) -> set[bytes]:
    """The canaries in the files of the store."""
    found = set()
    for file in folder.glob("chatkeep.db*"):
        raw = file.read_bytes()
        at = raw.find(CANARY)
        while at >= 0:
            found.add(raw[at : at + len(CANARY) + 4])
            at = raw.find(CANARY, at + 1)
    return found


async def until(folder: Path, is_so: Callable[[set[bytes]], bool]) -> None:
    """Wait for it to be so twice running: the log may be emptied just between the reading of one file and the next."""
    times = 0
    async with asyncio.timeout(PATIENCE_S):
        while times < 2:
            times = times + 1 if is_so(held(folder)) else 0
            await asyncio.sleep(0.02)


async def talk(world: World, chat_id: str, **fields: Any) -> None:
    """A chat with a canary in every place that keeps texts, on pages of its own and on pages it shares."""
    text = "canary-%s and more. "
    said = [{"role": "user", "content": text % f"m{n:03}" + "x" * n * 40} for n in range(100)]
    await world.native(
        "POST",
        "/chats",
        id=chat_id,
        title=text % "titl",
        system_prompt=text % "prom",
        metadata={"a": text % "meta"},
        tags=[text % "tags"],
        messages=said,
        **fields,
    )
    path = f"/chats/{chat_id}"
    await world.native(
        "POST", path + "/messages", messages=[{"role": "user", "content": text % "long" * 4000}]
    )
    await world.native("POST", path + "/documents", filename=text % "file", text=text % "docu" * 1000)
    await world.native("POST", path + "/share")
    headers = {**world.owner.bearer, "idempotency-key": "k"}
    asked = {"message": text % "once"}
    answer = await world.client.post(f"{NATIVE}{path}/generate", headers=headers, json=asked)
    assert answer.is_success


async def test_a_chat_deleted_for_good_is_in_no_file(world: World, tmp_path: Path) -> None:
    await world.native("POST", "/chats", title="canary-stay")
    await talk(world, "doomed")
    places = b"stay titl prom meta tags m000 m099 long file docu once".split()
    await until(tmp_path / "data", {CANARY + place for place in places}.issubset)
    await world.native("DELETE", "/chats/doomed")
    await world.native("POST", "/chats/doomed/restore")
    url = "/openwebui/api/v1/chats/doomed"
    assert (await world.client.delete(url, headers=world.owner.bearer)).json() is True
    await until(tmp_path / "data", {b"canary-stay"}.__eq__)


async def test_nor_is_one_that_expired(world: World, clock: FakeClock, tmp_path: Path) -> None:
    await world.native("POST", "/chats", title="canary-stay")
    await talk(world, "doomed", ttl_s=60)
    clock.advance(61)
    assert (await sweep(world.system)).expired_chats == 1
    await until(tmp_path / "data", {b"canary-stay"}.__eq__)
