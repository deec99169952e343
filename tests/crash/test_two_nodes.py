"""Two servers of one PostgreSQL and one folder of secrets: what one is told the other knows, and goes on with."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest

from tests.crash.place import settings_on
from tests.crash.process import Nursery, ServerProcess
from tests.crash.stage import Chat, Client, Stage
from tests.crash.storyteller import Storyteller, question, told
from tests.journal_reader import API, BROKEN, TRANSPORTS, Reader
from tests.postgres.asking import ask as ask_database
from tests.upstream import Script

TIMES = 50
WORDS, LONGER = 40, 55
SKEW_S = 300.0
NEVER_SWEPT = {"sweep_interval_s": 3600.0, "lease_s": 30.0}
"""Nothing is done because somebody looks now and then: what happens soon does because the nodes tell each other."""


class Node(Client):
    """One of them, and a way to speak to it."""

    def __init__(self, server: ServerProcess, session: aiohttp.ClientSession, key: str) -> None:
        super().__init__(session)
        self.server = server
        self._key = key

    async def say(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[Any, dict[str, str], int]:
        """Answer, headers and status, by any dialect."""
        named = {"X-API-Key": self._key, **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with self.session.request(method, path, json=body, headers=named) as answer:
            raw = await answer.json() if answer.status != 304 else None
            assert answer.status < 400, f"{method} {path}: {answer.status} {raw}"
            return raw, {name.lower(): value for name, value in answer.headers.items()}, answer.status


@pytest.fixture
async def stage(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    with Nursery() as nursery:
        async with Storyteller() as upstream:
            made = Stage(tmp_path / "data", upstream, nursery)
            made.settings |= settings_on("postgres", request) | {"sweep_interval_s": 0.1}
            yield made


@asynccontextmanager
async def serving(stage: Stage, **more: dict[str, Any]) -> AsyncIterator[list[Node]]:
    """Two nodes, or as many as are named, each with what it is wanted to be."""
    async with AsyncExitStack() as ends:
        first, *others = (more or {"a": {}, "b": {}}).items()
        servers = [await stage.serve(first[0], **first[1])]
        servers += await asyncio.gather(*(stage.serve(name, **wanted) for name, wanted in others))
        nodes = []
        for server in servers:
            ends.push_async_callback(server.kill)
            client = await ends.enter_async_context(stage.client(server))
            nodes.append(Node(server, client.session, stage.key))
        yield nodes


async def begin(stage: Stage, node: Client, words: int = WORDS) -> tuple[Chat, str, asyncio.Task[Any]]:
    """A chat with an answer under way, past its first word; its name, and who waits for it."""
    await stage.open_chats(node, len(stage.chats[-2:]) + 1, 0)
    chat, name = stage.chats[-1], stage.name()
    body = {"message": question(words, name)}
    asking = asyncio.create_task(unheard(node, f"/chats/{chat.id}/generate", body))
    reader = Reader(chat.id)
    reading = asyncio.create_task(reader.follow(node.session))
    await reader.until_type("run.delta")
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    return chat, name, asking


async def unheard(node: Client, path: str, body: Any) -> Any:
    try:
        return await node.ask("POST", path, body)
    except BROKEN:
        return None


def follow(node: Client, chat: Chat, *readers: Reader) -> list[asyncio.Task[None]]:
    chat.readers += [reader for reader in readers if reader not in chat.readers]
    return [asyncio.create_task(reader.follow(node.session)) for reader in readers]


async def runs_of(node: Client, chat: Chat) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await node.get(f"/chats/{chat.id}/runs"))["items"]
    return found


async def test_what_one_wrote_the_other_reads_at_once_in_every_dialect(stage: Stage) -> None:
    async with serving(stage) as nodes:
        made, headers, _ = await nodes[0].say("POST", f"{API}/chats", {})
        path, etag = f"{API}/chats/{made['id']}", headers["etag"]
        for number in range(TIMES):
            writer, reader = nodes[number % 2], nodes[1 - number % 2]
            said = {"messages": [{"role": "user", "content": f"number {number}"}]}
            await writer.say("POST", f"{path}/messages", said)
            chat, headers, status = await reader.say("GET", path, If_None_Match=etag)
            assert (status, chat["messages"][-1]["content"]) == (200, f"number {number}")
            assert (await writer.say("GET", path))[1]["etag"] == headers["etag"]
            etag = headers["etag"]
            for node in nodes:
                assert (await node.say("GET", path, If_None_Match=etag))[2] == 304
        assert chat["message_count"] == TIMES
        await stage.open_chats(nodes[0], 1, 0)  # by now there is a model
        for writer, reader in (nodes, nodes[::-1], nodes):
            name = stage.name()
            asked = question(3, name)
            cuadra, _, _ = await writer.say(
                "POST", "/cuadra/v1/chats", {"messages": [{"role": "user", "content": asked}]}
            )
            seen, _, _ = await reader.say("GET", f"/cuadra/v1/chats/{cuadra['id']}")
            assert [each["content"] for each in seen["messages"]] == [asked, told(name, 3)]
            history = {"messages": {"m": {"id": "m", "role": "user", "content": asked}}, "currentId": "m"}
            kept, headers, _ = await writer.say(
                "POST", "/openwebui/api/v1/chats/new", {"chat": {"title": name, "history": history}}
            )
            seen, read, _ = await reader.say("GET", f"/openwebui/api/v1/chats/{kept['id']}")
            assert seen["chat"]["history"] == kept["chat"]["history"]
            path = f"/openwebui/api/v1/chats/{kept['id']}"
            assert (await writer.say("GET", path, If_None_Match=read["etag"]))[2] == 304
            lexicon, headers, _ = await writer.say("POST", "/lexicon/api/v1/chats/", {"user_id": name})
            seen, read, _ = await reader.say("GET", f"/lexicon/api/v1/chats/{lexicon['id']}")
            assert (seen, read["etag"]) == (lexicon, headers["etag"])
            await _speak_synthflow(writer, reader, asked, told(name, 3))


async def _speak_synthflow(writer: Node, reader: Node, asked: str, answer: str) -> None:
    path = f"/synthflow/v2/chat/{uuid.uuid4()}"
    listed, _, _ = await reader.say("GET", "/synthflow/v2/assistants/")
    await writer.say("POST", path, {"model_id": listed["response"]["assistants"][0]["model_id"]})
    await reader.say(
        "POST", f"{path}/messages", {"message": asked}
    )  # it knows the session, begun a moment ago
    seen, _, _ = await writer.say("GET", path)
    assert [each["message"] for each in seen["response"]["conversation_history"]][-2:] == [asked, answer]


async def test_an_answer_of_one_is_followed_at_the_other(stage: Stage) -> None:
    stage.upstream.pace_s = 0.01
    async with serving(stage) as (one, other):
        chat, name, asking = await begin(stage, one)
        whole = [Reader(chat.id, transport) for transport in TRANSPORTS]
        reading = follow(other, chat, *whole)
        reading += follow(other, chat, Reader(chat.id, "sse", None), Reader(chat.id, "ws", None))
        cuadra = await _cuadra_stream(other, question(WORDS, "other"))
        assert cuadra[1] == told("other", WORDS)
        seen, _, _ = await one.say("GET", f"/cuadra/v1/chats/{cuadra[0]}")
        assert seen["messages"][-1]["content"] == cuadra[1]
        ends = await asyncio.gather(*(reader.until_type("run.completed") for reader in whole))
        assert {end["message"]["content"] for end in ends} == {told(name, WORDS)}
        assert (await asking)[0] == 200
        await stage.caught_up(other)
        assert await stage.judge(other) == []
        for task in reading:
            task.cancel()


async def _cuadra_stream(node: Node, asked: str) -> tuple[str, str]:
    body = {"messages": [{"role": "user", "content": asked}], "stream": True}
    chat_id, text = "", ""
    async with node.session.post("/cuadra/v1/chats", json=body) as answer:
        assert answer.status == 200, await answer.text()
        async for line in answer.content:
            if line.startswith(b"data: {"):
                chunk = json.loads(line.removeprefix(b"data: "))
                chat_id, text = chunk["id"], text + chunk.get("delta", "")
    return chat_id, text


async def test_a_stop_by_the_other_is_heard_at_once(stage: Stage) -> None:
    stage.settings |= NEVER_SWEPT
    async with serving(stage) as (one, other):
        await stage.open_chats(one, 1, 0)
        (chat,) = stage.chats
        stage.upstream.play(Script(["And then "], failure="silent"))  # nothing is said that could be refused
        asking = asyncio.create_task(unheard(one, f"/chats/{chat.id}/generate", {"message": "Well?"}))
        reader = Reader(chat.id, "ws")
        reading = follow(other, chat, reader)
        await reader.until_type("run.delta")
        began = monotonic()
        assert (await other.ask("POST", f"/chats/{chat.id}/stop", {}))[0] == 200
        await reader.until_type("run.stopped", within_s=2.0)
        assert monotonic() - began < 2.0
        status, answer = await asking
        assert (status, answer["message"]["content"]) == (200, "And then ")
        (run,) = await runs_of(one, chat)
        assert run["state"] == "stopped"
        reading[0].cancel()


@pytest.mark.parametrize("resume", ["always", pytest.param("handed-over", marks=pytest.mark.long)])
async def test_one_is_killed_in_mid_answer_and_the_other_sees_to_it(stage: Stage, resume: str) -> None:
    stage.settings |= {"resume_runs": resume, "lease_s": 2.0}
    stage.upstream.pace_s = 0.05
    async with serving(stage) as (one, other):
        chat, name, asking = await begin(stage, one)
        readers = [Reader(chat.id, transport, after) for transport in TRANSPORTS for after in (0, None)]
        reading = follow(one, chat, *readers)
        await asyncio.gather(*(reader.until(4) for reader in readers))
        died = monotonic()
        await one.server.kill()
        await asyncio.gather(asking, *reading)
        before = {id(reader): len(reader.seen) for reader in readers}
        reading = follow(other, chat, *readers)
        ends = await asyncio.gather(
            *(reader.until_type("run.resumed", "run.failed", within_s=5.0) for reader in readers)
        )
        assert monotonic() - died < 5.0
        assert all(len(reader.seen) > before[id(reader)] for reader in readers)
        if resume == "always":
            ends = await asyncio.gather(*(reader.until_type("run.completed") for reader in readers))
            assert {end["message"]["content"] for end in ends} == {told(name, WORDS)}
        else:
            assert {told(name, WORDS).startswith(end["message"]["content"]) for end in ends} == {True}
        await stage.caught_up(other)
        assert await stage.judge(other) == []
        for task in reading:
            task.cancel()


async def test_what_one_gives_back_is_gone_on_with_at_once_by_one_of_the_others(stage: Stage) -> None:
    stage.settings |= NEVER_SWEPT | {"drain_s": 1.0}
    stage.upstream.pace_s = 0.05
    async with serving(stage, b={}, c={}, a={"is_fresh": True}) as (other, _, leaving):
        begun = [await begin(stage, leaving, LONGER) for _ in range(3)]
        readers = [
            Reader(chat.id, transport) for (chat, _, _), transport in zip(begun, TRANSPORTS, strict=True)
        ]
        reading = [
            task
            for reader, (chat, _, _) in zip(readers, begun, strict=True)
            for task in follow(other, chat, reader)
        ]
        leaving.server.send(signal.SIGTERM)
        await leaving.server.ended(within_s=10.0)
        ended = monotonic()
        assert leaving.server.exit_code == 0, leaving.server.said
        await asyncio.gather(*(reader.until_type("run.resumed") for reader in readers))
        assert monotonic() - ended < 1.0
        ends = await asyncio.gather(*(reader.until_type("run.completed") for reader in readers))
        assert [end["message"]["content"] for end in ends] == [told(name, LONGER) for _, name, _ in begun]
        assert [[run["epoch"] for run in await runs_of(other, chat)] for chat, _, _ in begun] == [[2]] * 3
        await asyncio.gather(*(asking for _, _, asking in begun))
        await stage.caught_up(other)
        assert await stage.judge(other) == []
        for task in reading:
            task.cancel()


async def test_clocks_that_are_wrong_change_nothing(stage: Stage) -> None:
    stage.upstream.pace_s = 0.06
    slow, fast = {"clock_off_s": -SKEW_S}, {"clock_off_s": SKEW_S}
    async with serving(stage, a=slow, b=fast) as (late, early):
        chat, name, asking = await begin(stage, late)
        assert (await early.get(f"/chats/{chat.id}"))["status"] == "generating"
        assert (await asking)[0] == 200  # after more than a lease, in which the other looked often
        (run,) = await runs_of(early, chat)
        assert (run["state"], run["epoch"]) == ("completed", 1)
        assert (await late.messages(chat.id))[-1]["content"] == told(name, WORDS)
        stage.upstream.pace_s = 0.0
        for node in (early, late, early, late):
            assert (
                await node.ask("POST", f"/chats/{chat.id}/generate", {"message": question(1, stage.name())})
            )[0] == 200
        runs = await runs_of(late, chat)
        times = [run["started_at"] for run in runs]
        assert times == sorted(times, reverse=True), "newest first, whichever node's clock is ahead"
        (now_s,) = [await asyncio.to_thread(_now_s, stage.settings["database_url"])]
        written = [each["created_at"] for each in await early.messages(chat.id)]
        assert all(abs(now_s - _seconds(each)) < 60 for each in (*times, *written))
        assert await stage.judge(late) == []


def _now_s(url: str) -> float:
    return float(ask_database(url, "SELECT extract(epoch FROM clock_timestamp())::float"))


def _seconds(time: Any) -> float:
    return datetime.fromisoformat(str(time).replace("Z", "+00:00")).astimezone(UTC).timestamp()
