"""kill -9 at the commit of each verb about answers, and at the steps of a start: asked again, each happens once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.crash.journal_judge import examine_journals
from tests.crash.process import Nursery, ServerProcess
from tests.crash.stage import Chat, Client, Stage
from tests.crash.storyteller import Storyteller, question, told
from tests.journal_reader import BROKEN, Reader

WORDS = 12
POINTS = ("before a commit", "after a commit, before anybody is told")
VERBS = ("messages", "generate", "regenerate", "continue", "edit", "stop")
STARTED = ("generate", "regenerate", "continue", "edit")
RUNS = 5


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    with Nursery() as nursery:
        async with Storyteller() as upstream:
            yield Stage(tmp_path / "data", upstream, nursery)


@pytest.mark.parametrize("point", POINTS)
async def test_a_verb_cut_at_its_commit_happens_once(stage: Stage, point: str) -> None:
    for verb in VERBS:
        server = await stage.serve(fault=point)
        async with stage.client(server) as client:
            chat, running = await prepared(stage, client, is_running=verb == "stop")
            path, body = request(stage, verb, chat)
            server.send(signal.SIGUSR1)
            await client.get("/me")  # by now it is heard
            assert await stage.post(client, chat, path, body) is None
            await server.ended(within_s=10)
            await asyncio.gather(*running)
        server = await stage.serve()
        async with stage.client(server) as client:
            await asked_again(stage, client, verb, is_kept=point != POINTS[0])
        await server.kill()


async def prepared(
    stage: Stage, client: Client, *, is_running: bool
) -> tuple[Chat, list[asyncio.Task[None]]]:
    """A chat with a question and its answer and a reader; one more answer is under way if wanted."""
    stage.upstream.pace_s = 0.002
    stage.chats = []
    await stage.open_chats(client, 1, 1)
    (chat,) = stage.chats
    tasks = [asyncio.create_task(chat.readers[0].follow(client.session))]
    await stage.post(client, chat, "generate", {"message": question(WORDS, stage.name())})
    if is_running:
        stage.upstream.pace_s = 0.5
        tasks.append(
            asyncio.create_task(unheard(client, chat.id, {"message": question(WORDS, stage.name())}))
        )
        async with asyncio.timeout(10):
            while chat.readers[0].seen[-1]["type"] != "run.delta":  # noqa: ASYNC110 - a few looks
                await asyncio.sleep(0.01)
    return chat, tasks


async def unheard(client: Client, chat_id: str, body: Any) -> None:
    """An answer that nobody waits for to its end."""
    try:
        await client.ask("POST", f"/chats/{chat_id}/generate", body)
    except BROKEN:
        pass


def request(stage: Stage, verb: str, chat: Chat) -> tuple[str, Any]:
    """The path below the chat's, and the body."""
    asked = question(WORDS, stage.name())
    found = {message["role"]: message["id"] for message in chat.told}
    match verb:
        case "messages":
            return verb, {"messages": [{"role": "user", "content": asked}]}
        case "generate":
            return verb, {"message": asked}
        case "edit":
            return f"messages/{chat.told[0]['parent_id']}/edit", {"content": asked}
        case "stop":
            return verb, {}
        case _:
            return verb, {"message_id": found["assistant"]}


async def asked_again(stage: Stage, client: Client, verb: str, *, is_kept: bool) -> None:
    """After the restart: what was cut is there or not, whole; asked again under its key it is there once."""
    stage.upstream.pace_s = 0.002
    (chat,) = stage.chats
    runs = (await client.get(f"/chats/{chat.id}/runs"))["items"]
    assert all(run["state"] != "running" for run in runs)
    assert len(runs) == 1 + (verb == "stop" or (is_kept and verb in STARTED))
    if verb == "stop":
        assert runs[0]["state"] == ("stopped" if is_kept else "failed")
    await stage.retry(client, chat)
    assert len((await client.get(f"/chats/{chat.id}/runs"))["items"]) == 1 + (verb not in ("messages",))
    reading = asyncio.create_task(chat.readers[0].follow(client.session))
    chat.readers += [Reader(chat.id), Reader(chat.id), Reader(chat.id)]
    await chat.readers[0].until((await client.get(f"/chats/{chat.id}"))["version"])
    chat.readers = chat.readers[:1]
    assert await stage.judge(client) == [], verb
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.parametrize(
    ("point", "resume"),
    [
        ("in the transaction of a dead run's end", "handed-over"),
        ("after a dead run's end", "handed-over"),
        ("after a run was taken over", "always"),
    ],
)
async def test_a_recovery_that_is_cut_is_finished_by_the_next(stage: Stage, point: str, resume: str) -> None:
    stage.settings |= {"resume_runs": resume}
    stage.upstream.pace_s = 0.05
    server = await stage.serve()
    async with stage.client(server) as client:
        await stage.open_chats(client, RUNS, 2)
        names = {chat.id: stage.name() for chat in stage.chats}
        tasks = [
            asyncio.create_task(unheard(client, chat_id, {"message": question(WORDS, name)}))
            for chat_id, name in names.items()
        ]
        readers = [reader for chat in stage.chats for reader in chat.readers]
        tasks += [asyncio.create_task(reader.follow(client.session)) for reader in readers]
        await asyncio.gather(*(reader.until_type("run.delta") for reader in readers))
        await server.kill()
        await asyncio.gather(*tasks)
    await dies_at_its_start(stage, point, at_pass=2)
    server = await stage.serve()
    async with stage.client(server) as client:
        tasks = [asyncio.create_task(reader.follow(client.session)) for reader in readers]
        ends = await asyncio.gather(*(reader.until_type("run.completed", "run.failed") for reader in readers))
        await stage.caught_up(client)
        assert await stage.judge(client) == []
        for end in ends:
            whole = told(names[end["message"]["chat_id"]], WORDS)
            said = end["message"]["content"]
            assert said == whole if resume == "always" else whole.startswith(said)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await server.kill()


async def dies_at_its_start(stage: Stage, point: str, *, at_pass: int) -> None:
    server = ServerProcess(stage.wanted(fault=point, at_pass=at_pass), stage.nursery)
    server.launch()
    await server.ended(within_s=20)
    assert "ready at" not in server.said


async def test_a_migration_that_is_cut_is_done_by_the_next_start(stage: Stage) -> None:
    for at_pass in (1, 9, 30, 44):
        stage.data = stage.data.with_name(f"data{at_pass}")
        await dies_at_its_start(stage, "in a migration", at_pass=at_pass)
        server = await stage.serve()
        await server.kill()
        assert examine_journals(stage.database) == []
    schemas = [_schema(path) for path in stage.data.parent.glob("data*/chatkeep.db")]
    assert len(schemas) == 4
    assert all(schema == schemas[0] for schema in schemas)


def _schema(path: Path) -> list[Any]:
    connection = apsw.Connection(str(path))
    try:
        version = connection.pragma("user_version")
        return [version, *connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()]
    finally:
        connection.close()
