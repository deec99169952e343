"""kill -9 while answers are generated and fifty readers follow: at random moments, and at every named point.

A failing round prints its seed and its point; the same seed plans the same verbs and the same moment.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.crash import faults
from tests.crash.process import Nursery, ServerProcess
from tests.crash.stage import Client, Stage
from tests.crash.storyteller import Storyteller

CHATS, READERS = 5, 10
HAND_OVERS = ("before a run is handed over", "after a run was handed over")
OFTEN = {
    "in the transaction of a tick": 6,
    "before a commit": 12,
    "after a model's word, before it is written": 60,
}
FOLDING = {"sweep_interval_s": 0.05, "fold_after_s": 0}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    with Nursery() as nursery:
        async with Storyteller() as upstream:
            yield Stage(tmp_path / "data", upstream, nursery)


async def test_kills_at_random_moments(stage: Stage) -> None:
    await kill_again_and_again(stage, seed=1, points=[None] * 9)


async def test_a_kill_at_every_named_point(stage: Stage) -> None:
    await kill_again_and_again(stage, seed=2, points=list(faults.AT_WORK))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20, 30))
async def test_fifty_kills_each(stage: Stage, seed: int) -> None:
    points = [point for point in faults.AT_WORK for _ in range(2)]
    await kill_again_and_again(stage, seed=seed, points=[None] * (50 - len(points)) + points)


async def kill_again_and_again(stage: Stage, *, seed: int, points: list[str | None]) -> None:
    Random(seed).shuffle(points)
    usual = stage.settings
    for number, point in enumerate(points):
        random, name = Random(f"{seed}.{number}"), f"seed {seed}, round {number}, {point}"
        stage.settings = {**usual, **(FOLDING if point == "in the transaction of a fold" else {})}
        server = await stage.serve(
            folds_often=number % 2 == 0 or point == "in a checkpoint",
            fault=point,
            at_pass=random.randint(1, OFTEN.get(point or "", 3)),
        )
        await one_life(stage, server, random, point)
        stage.settings = usual
        server = await stage.serve()
        await settle(stage, server, name)
        await server.kill()


async def one_life(stage: Stage, server: ServerProcess, random: Random, point: str | None) -> None:
    """Verbs in five chats and fifty readers, until the server dies of its fault or at a random moment."""
    async with stage.client(server) as client:
        await stage.open_chats(client, CHATS, READERS)
        reading = await start_reading(stage, client)
        acting = [asyncio.ensure_future(stage.act(client, chat, random)) for chat in stage.chats]
        await asyncio.sleep(random.uniform(0.02, 0.5))
        if point is None:
            await server.kill()
        else:
            server.send(signal.SIGUSR1)
            if point in HAND_OVERS:
                server.send(signal.SIGTERM)
            await server.ended(within_s=20)
        await asyncio.gather(*reading, *acting)


async def start_reading(stage: Stage, client: Client) -> list[asyncio.Task[None]]:
    """Have all readers follow from where they are."""
    readers = [reader for chat in stage.chats for reader in chat.readers]
    reading = [asyncio.create_task(reader.follow(client.session)) for reader in readers]
    await asyncio.gather(*(reader.until(1) for reader in readers))
    return reading


async def settle(stage: Stage, server: ServerProcess, name: str) -> None:
    """After the restart: no answer is under way, what was is asked again, and everything is as it should be."""
    async with stage.client(server) as client:
        reading = await start_reading(stage, client)
        for chat in stage.chats:
            await ended(client, chat.id)
        await asyncio.gather(*(stage.retry(client, chat) for chat in stage.chats))
        await stage.caught_up(client)
        assert await stage.judge(client) == [], name
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def ended(client: Client, chat_id: str) -> Any:
    """The chat once nothing is generated in it: at once, but for runs that were handed over and go on."""
    async with asyncio.timeout(20):
        while (chat := await client.get(f"/chats/{chat_id}"))["status"] == "generating":
            runs = await client.get(f"/chats/{chat_id}/runs")
            assert [run["epoch"] > 1 for run in runs["items"] if run["state"] == "running"], (
                "a dead run is running"
            )
            await asyncio.sleep(0.02)
    return chat
