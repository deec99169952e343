"""kill -9 while answers are generated and fifty readers follow: at random moments, and at every named point.

A failing round prints its seed and its point; the same seed plans the same verbs and the same moment.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, TypeAlias

import pytest

from tests.crash import faults
from tests.crash.place import doctor_finds, leases_s, settings_on
from tests.crash.process import Nursery, ServerProcess
from tests.crash.stage import Client, Stage
from tests.crash.storyteller import Storyteller

CHATS, READERS = 5, 10
NODES, NODES_READERS = 4, 4
Point: TypeAlias = str | None
NOWHERE: list[Point] = [None]
HAND_OVERS = ("before a run is handed over", "after a run was handed over")
OFTEN = {
    "in the transaction of a tick": 6,
    "before a commit": 12,
    "after a model's word, before it is written": 60,
}
FOLDING = {"sweep_interval_s": 0.05, "fold_after_s": 0}


@asynccontextmanager
async def staged(tmp_path: Path, **settings: Any) -> AsyncIterator[Stage]:
    with Nursery() as nursery:
        async with Storyteller() as upstream:
            stage = Stage(tmp_path / "data", upstream, nursery)
            stage.settings |= settings
            yield stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as made:
        yield made


@pytest.fixture
async def nodes(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """On PostgreSQL: its servers are as many as there are points in a round."""
    async with staged(tmp_path, **settings_on("postgres", request)) as made:
        yield made


async def test_kills_at_random_moments(stage: Stage) -> None:
    await kill_again_and_again(stage, seed=1, rounds=[(None,) for _ in range(9)])


async def test_a_kill_at_every_named_point(stage: Stage) -> None:
    await kill_again_and_again(stage, seed=2, rounds=[(point,) for point in faults.at_work("sqlite")])


async def test_four_nodes_are_killed_at_random_moments_and_at_every_named_point(nodes: Stage) -> None:
    await kill_again_and_again(nodes, seed=3, rounds=grouped([*faults.at_work("postgres"), *NOWHERE * 9]))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20, 30))
async def test_fifty_kills_each(stage: Stage, seed: int) -> None:
    points: list[Point] = [point for point in faults.at_work("sqlite") for _ in range(2)]
    points = [*points, *NOWHERE * (50 - len(points))]
    await kill_again_and_again(stage, seed=seed, rounds=[(point,) for point in points])


@pytest.mark.long
@pytest.mark.parametrize("seed", range(30, 40))
async def test_fifty_kills_each_on_postgres(nodes: Stage, seed: int) -> None:
    points: list[Point] = [point for point in faults.at_work("postgres") for _ in range(2)]
    points = [*points, *NOWHERE * (52 - len(points))]
    Random(seed).shuffle(points)
    await kill_again_and_again(nodes, seed=seed, rounds=grouped(points))


def grouped(points: list[Point]) -> list[tuple[Point, ...]]:
    """So many nodes a round, which die one after the other."""
    return list(zip(*(points[place::NODES] for place in range(NODES)), strict=True))


async def kill_again_and_again(stage: Stage, *, seed: int, rounds: Sequence[tuple[Point, ...]]) -> None:
    """Each round has a server for each of its points (None: a random moment), and they die one after the other."""
    rounds = Random(seed).sample(rounds, len(rounds))
    usual = stage.settings
    for number, points in enumerate(rounds):
        random, name = Random(f"{seed}.{number}"), f"seed {seed}, round {number}, {points}"
        stage.settings = {**usual, **(FOLDING if "in the transaction of a fold" in points else {})}
        starts = [
            stage.serve(
                f"server{place}" if place else "server",
                folds_often=number % 2 == 0 or point == "in a checkpoint",
                fault=point,
                at_pass=random.randint(1, OFTEN.get(point or "", 3)),
            )
            for place, point in enumerate(points)
        ]
        # The first of all makes the owner's key and the secrets; from then on they start at once.
        servers = [await starts[0], *await asyncio.gather(*starts[1:])]
        await one_life(stage, list(zip(servers, points, strict=True)), random)
        stage.settings = usual
        server = await stage.serve()
        await settle(stage, server, name)
        await server.kill()
    assert await doctor_finds(stage.settings, stage.data) == []


async def one_life(stage: Stage, servers: list[tuple[ServerProcess, Point]], random: Random) -> None:
    """Verbs in five chats and their readers, until each server dies of its fault or at a random moment."""
    async with AsyncExitStack() as connected:
        clients = [await connected.enter_async_context(stage.client(server)) for server, _ in servers]
        await stage.open_chats(clients[0], CHATS, READERS if len(servers) == 1 else NODES_READERS)
        reading = await start_reading(stage, *clients)
        acting = [
            asyncio.ensure_future(stage.act(clients[place % len(clients)], chat, random))
            for place, chat in enumerate(stage.chats)
        ]
        for server, point in servers:
            await asyncio.sleep(random.uniform(0.02, 0.5))
            await die(server, point)
        await asyncio.gather(*reading, *acting)


async def die(server: ServerProcess, point: Point) -> None:
    if point is None:
        await server.kill()
        return
    server.send(signal.SIGUSR1)
    if point in HAND_OVERS:
        server.send(signal.SIGTERM)
    await server.ended(within_s=20)


async def start_reading(stage: Stage, *clients: Client) -> list[asyncio.Task[None]]:
    """Have all readers follow from where they are, those of one chat by all the clients."""
    readers = [reader for chat in stage.chats for reader in chat.readers]
    reading = [
        asyncio.create_task(reader.follow(clients[place % len(clients)].session))
        for place, reader in enumerate(readers)
    ]
    await asyncio.gather(*(reader.until(1) for reader in readers))
    return reading


async def settle(stage: Stage, server: ServerProcess, name: str) -> None:
    """After the restart: no answer is under way, what was is asked again, and everything is as it should be."""
    async with stage.client(server) as client:
        reading = await start_reading(stage, client)
        until_s = monotonic() + leases_s(stage.settings)
        for chat in stage.chats:
            await ended(client, chat.id, until_s)
        await asyncio.gather(*(stage.retry(client, chat) for chat in stage.chats))
        await stage.caught_up(client)
        assert await stage.judge(client) == [], name
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def ended(client: Client, chat_id: str, dead_until_s: float) -> Any:
    """The chat once nothing is generated in it: by then at the latest, but for runs that were handed over and go on."""
    async with asyncio.timeout(20):
        while (chat := await client.get(f"/chats/{chat_id}"))["status"] == "generating":
            runs = await client.get(f"/chats/{chat_id}/runs")
            running = [run for run in runs["items"] if run["state"] == "running"]
            is_gone_on_with = all(run["epoch"] > 1 for run in running)
            assert is_gone_on_with or monotonic() < dead_until_s, "a dead run is running"
            await asyncio.sleep(0.02)
    return chat
