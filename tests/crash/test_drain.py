"""SIGTERM with streams open and answers under way: the process ends in order and in time, and the next one on the same
folder goes on with every answer where it stopped; readers who come back with their cursor miss nothing.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.crash.process import Nursery, ServerProcess
from tests.crash.stage import Client, Stage
from tests.crash.storyteller import Storyteller, question, told
from tests.journal_reader import BROKEN, Reader

WORDS, SLOW_S, QUICK_S = 80, 0.25, 0.005  # no answer ends in the first process, however busy the machine
LIMIT_S = 10.0


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    with Nursery() as nursery:
        async with Storyteller(pace_s=SLOW_S) as upstream:
            yield Stage(tmp_path / "data", upstream, nursery)


async def begin(stage: Stage, client: Client, *, runs: int, streams: int) -> dict[str, str]:
    """So many answers under way, each with its share of the streams, all past the first word; names by chat."""
    await stage.open_chats(client, runs, streams // runs)
    names = {chat.id: stage.name() for chat in stage.chats}
    for chat in stage.chats:
        for reader in chat.readers:
            if reader.transport == "poll":  # asks again and again: no stream
                reader.transport = "sse"

    async def ask(chat_id: str) -> None:
        try:
            await client.ask(
                "POST", f"/chats/{chat_id}/generate", {"message": question(WORDS, names[chat_id])}
            )
        except BROKEN:
            pass

    stage.asking = [asyncio.ensure_future(ask(chat_id)) for chat_id in names]
    stage.reading = [
        asyncio.ensure_future(reader.follow(client.session))
        for chat in stage.chats
        for reader in chat.readers
    ]
    await asyncio.gather(*(reader.until_type("run.delta", "snapshot") for reader in all_readers(stage)))
    return names


def all_readers(stage: Stage) -> list[Reader]:
    return [reader for chat in stage.chats for reader in chat.readers]


async def went_on(stage: Stage, names: dict[str, str], *, resumed: bool) -> None:
    """A second process: every answer comes to its end, once, and every reader has the whole journal."""
    stage.upstream.pace_s = QUICK_S
    server = await stage.serve()
    async with stage.client(server) as client:
        reading = [asyncio.ensure_future(reader.follow(client.session)) for reader in all_readers(stage)]
        for chat in stage.chats:
            await chat.readers[0].until_type("run.completed", "run.failed", within_s=60)
        await stage.caught_up(client)
        assert await stage.judge(client) == []
        for chat_id, name in names.items():
            (run,) = (await client.get(f"/chats/{chat_id}/runs"))["items"]
            answer = (await client.messages(chat_id))[1]["content"]
            if resumed:
                assert (run["state"], run["epoch"] > 1) == ("completed", True)
                assert answer == told(name, WORDS)
            else:
                assert told(name, WORDS).startswith(answer)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    await server.kill()


async def drained(stage: Stage, *, runs: int, streams: int) -> None:
    server = await stage.serve(is_fresh=True)
    async with stage.client(server) as client:
        names = await begin(stage, client, runs=runs, streams=streams)
        began = time.monotonic()
        server.send(signal.SIGTERM)
        await asyncio.gather(*(farewell(reader) for reader in all_readers(stage)))
        assert time.monotonic() - began < stage.settings["drain_s"] / 2, (
            "streams are told before answers are ended"
        )
        await server.ended(within_s=LIMIT_S)
        assert server.exit_code == 0, server.said
        await asyncio.gather(*stage.asking, *stage.reading)
    assert "Traceback" not in server.said
    await went_on(stage, names, resumed=True)


async def farewell(reader: Reader) -> None:
    """Wait until the stream was closed with its cursor."""
    async with asyncio.timeout(LIMIT_S):
        while not reader.farewells:  # noqa: ASYNC110 - a few looks
            await asyncio.sleep(0.01)


async def test_twenty_streams_and_five_runs_go_on_in_the_next_process(stage: Stage) -> None:
    stage.settings |= {"drain_s": 5}
    await drained(stage, runs=5, streams=20)


@pytest.mark.long
async def test_two_hundred_streams_and_twenty_runs_go_on_in_the_next_process(stage: Stage) -> None:
    stage.settings |= {"drain_s": 10}
    await drained(stage, runs=20, streams=200)


async def test_a_second_signal_ends_it_at_once_and_loses_nothing(stage: Stage) -> None:
    stage.settings |= {"drain_s": 10}
    server = await stage.serve()
    async with stage.client(server) as client:
        names = await begin(stage, client, runs=5, streams=20)
        await end_at_once(server)
        await asyncio.gather(*stage.asking, *stage.reading)
    await went_on(stage, names, resumed=False)


async def end_at_once(server: ServerProcess) -> None:
    server.send(signal.SIGTERM)
    await asyncio.sleep(0.2)
    began = time.monotonic()
    server.send(signal.SIGTERM)
    await server.ended()
    assert time.monotonic() - began < 5.0, "it would have waited for answers a second longer"
