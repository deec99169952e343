"""PostgreSQL is stopped and killed again and again under two nodes at work: what was told stays true, work goes on.

A failing run prints its seed: the same seed plans the same requests and the same restarts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import aiohttp
import pytest

from tests.crash.ledger import Append, Ledger, examine
from tests.crash.place import doctor_finds
from tests.crash.process import Nursery
from tests.crash.stage import Chat, Client, Stage
from tests.crash.storyteller import Storyteller, question, told
from tests.journal_reader import BROKEN, Reader
from tests.postgres.server import Postgres

CHATS, WRITERS, READERS = 4, 6, 3
LEASE_S, HEALS_S, PATIENCE_S = 2.0, 5.0, 30.0
PAUSE_S = 0.02
UNAVAILABLE = 500


@dataclass
class Load:
    """What clients do all the time, and what they were told."""

    ledger: Ledger = field(default_factory=Ledger)
    acknowledged_s: list[float] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)  # how runs ended, as their clients were told
    is_over: bool = False


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with Postgres.temporary(is_durable=True) as server:
        yield server


@pytest.fixture
async def stage(tmp_path: Path, postgres: Postgres) -> AsyncIterator[Stage]:
    with Nursery() as nursery:
        async with Storyteller(pace_s=0.03) as upstream:
            made = Stage(tmp_path / "data", upstream, nursery)
            made.settings |= {"database_url": postgres.url(), "lease_s": LEASE_S, "sweep_interval_s": 0.3}
            yield made


async def test_three_restarts(stage: Stage, postgres: Postgres) -> None:
    await restart_again_and_again(stage, postgres, seed=1, pauses_s=[1.5, 1.5, 1.5])


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_ten_minutes_of_restarts(stage: Stage, postgres: Postgres) -> None:
    random, pauses_s = Random(2), list[float]()
    while sum(pauses_s) < 600:
        pauses_s.append(random.uniform(5, 40))
    await restart_again_and_again(stage, postgres, seed=2, pauses_s=pauses_s)


async def restart_again_and_again(
    stage: Stage, postgres: Postgres, *, seed: int, pauses_s: list[float]
) -> None:
    load = Load()
    async with AsyncExitStack() as ends:
        clients = []
        for name in ("a", "b"):
            server = await stage.serve(name)
            ends.push_async_callback(server.kill)
            clients.append(await ends.enter_async_context(stage.client(server)))
        await stage.open_chats(clients[0], CHATS, READERS)
        _, quiet = await clients[0].ask("POST", "/chats", {})
        tasks = [
            asyncio.create_task(write(load, clients[number % 2], quiet["id"], f"{seed}.{number}"))
            for number in range(WRITERS)
        ]
        tasks += [
            asyncio.create_task(talk(load, stage, clients[place % 2], chat, Random(f"{seed}.{place}")))
            for place, chat in enumerate(stage.chats)
        ]
        reading = [
            asyncio.create_task(follow(reader, clients[place % 2]))
            for place, reader in enumerate(reader for chat in stage.chats for reader in chat.readers)
        ]
        for number, pause_s in enumerate(pauses_s):
            await asyncio.sleep(pause_s)
            await asyncio.to_thread(postgres.kill if number % 2 else postgres.stop)
            await asyncio.sleep(0.1)
            await asyncio.to_thread(postgres.start)
            await healed(load, clients, since_s=monotonic())
        load.is_over = True
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*tasks)
        await judged(stage, load, clients[1], reading)
    assert await doctor_finds(stage.settings, stage.data) == []


async def healed(load: Load, clients: list[Client], *, since_s: float) -> None:
    """Both nodes serve again, and somebody's write was acknowledged."""
    async with asyncio.timeout(HEALS_S):
        while not load.acknowledged_s or load.acknowledged_s[-1] < since_s:  # noqa: ASYNC110 - a few looks
            await asyncio.sleep(PAUSE_S)
        for client in clients:
            while (await client.ask("GET", "/me"))[0] != 200:  # noqa: ASYNC110 - a server, which tells nobody
                await asyncio.sleep(PAUSE_S)


async def insist(client: Client, path: str, body: Any, key: str) -> tuple[int, Any]:
    """Ask under one key until there is an answer that is one: neither of the store's trouble nor of one under way."""
    while True:
        try:
            status, answer = await client.ask("POST", path, body, key)
        except BROKEN:
            status, answer = UNAVAILABLE, {"code": "broken"}
        is_open = status >= UNAVAILABLE and answer["code"] != "provider_failed"
        if not is_open and answer.get("code") != "idempotency_in_flight":
            return status, answer
        await asyncio.sleep(PAUSE_S)


async def write(load: Load, client: Client, chat_id: str, name: str) -> None:
    number = 0
    while not load.is_over:
        number += 1
        append = Append(chat_id, f"{name}.{number}", f"{name}, text {number}")
        load.ledger.open.add(append)
        body = {"messages": [{"role": "user", "content": append.text}]}
        status, answer = await insist(client, f"/chats/{chat_id}/messages", body, append.key)
        assert status == 201, answer
        load.ledger.acknowledge(append, answer["items"][0]["id"], answer["items"][0]["seq"])
        load.acknowledged_s.append(monotonic())


async def talk(load: Load, stage: Stage, client: Client, chat: Chat, random: Random) -> None:
    """One question after the other; what is told of an answer is noted for the judge."""
    while not load.is_over:
        name, words = stage.name(), random.choice((3, 20, 60))
        body = {"message": question(words, name)}
        status, answer = await insist(client, f"/chats/{chat.id}/generate", body, name)
        if status == 200:
            assert answer["message"]["content"] == told(name, words)
            chat.told.append(answer["message"])
        else:
            assert answer["code"] == "provider_failed", answer
        kind = "completed" if status == 200 else answer["code"]
        load.answers[kind] = load.answers.get(kind, 0) + 1
        if status != 200:
            await asyncio.sleep(PAUSE_S)


async def follow(reader: Reader, client: Client) -> None:
    """As a client that comes back with its cursor whenever a stream breaks or is refused for the store's trouble."""
    while True:
        try:
            await reader.once(client.session)
        except (AssertionError, aiohttp.WSServerHandshakeError) as error:
            if not is_unavailable(error):
                reader.breaches.append(f"{reader.chat_id}: after {reader.after}: {error!r}")
                return
        except BROKEN:
            pass
        reader.refusals = [each for each in reader.refusals if not each["code"].startswith("store_")]
        assert reader.refusals == []
        await asyncio.sleep(PAUSE_S)


def is_unavailable(error: Exception) -> bool:
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return error.status >= UNAVAILABLE
    return str(error).startswith("503")


async def judged(stage: Stage, load: Load, client: Client, reading: list[asyncio.Task[None]]) -> None:
    """No run outlives two leases, and everything is as clients were told."""
    async with asyncio.timeout(2 * LEASE_S):
        for chat in stage.chats:
            while (await client.get(f"/chats/{chat.id}"))["status"] == "generating":  # noqa: ASYNC110 - as above
                await asyncio.sleep(PAUSE_S)
    await stage.caught_up(client)
    assert await stage.judge(client) == []
    assert examine(stage.database, load.ledger) == []
    assert load.answers["completed"] > 0
    assert all(not task.done() for task in reading), [task for task in reading if task.done()]
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
