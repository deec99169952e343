"""kill -9 at a random moment, again and again on one growing data folder: nothing is lost, nothing doubled.

A failing round prints its seed; the same seed plans the same requests and the same moment.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from chatkeep.domain.run import INTERRUPTED
from tests.crash.ledger import Append, Ledger, examine
from tests.crash.nursery import Wanted
from tests.crash.place import Place, doctor_finds, leases_s, place_of, settings_on
from tests.crash.process import Nursery, ServerProcess
from tests.upstream import Script, ScriptedUpstream

CLIENTS, CHATS, APPENDS = 16, 8, 1_000
QUESTION = "Will you ever end?"
API = "/chatkeep/v1"
BROKEN = (aiohttp.ClientError, ConnectionError, TimeoutError)


@dataclass
class Folder:
    """The data folder, who may write to it, and what was said about it so far."""

    data: Path
    upstream: ScriptedUpstream
    nursery: Nursery
    key: str = ""
    chats: list[str] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    asked: list[tuple[str, str]] = field(default_factory=list)  # chats whose run was cut, with their keys
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def database(self) -> Place:
        return place_of(self.settings, self.data)

    async def serve(self, *, is_fresh: bool = False, folds_often: bool = False) -> ServerProcess:
        log = str(self.data.with_name("server.log"))
        wanted = Wanted(str(self.data), log, self.upstream.base_url, folds_often, self.settings)
        server = ServerProcess(wanted, None if is_fresh else self.nursery)
        await server.start()
        self.key = server.key or self.key
        return server


class Client:
    """Speaks to one life of the server over keep-alive connections."""

    def __init__(self, server: ServerProcess, key: str) -> None:
        self._session = aiohttp.ClientSession(
            server.url,
            headers={"Authorization": f"Bearer {key}"},
            connector=aiohttp.TCPConnector(limit=CLIENTS + 1),
            timeout=aiohttp.ClientTimeout(total=30),
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(
        self, method: str, path: str, body: Any = None, key: str | None = None
    ) -> tuple[int, Any, bool]:
        """Status, JSON, and whether it was the answer of an earlier request."""
        headers = {} if key is None else {"Idempotency-Key": key}
        async with self._session.request(method, API + path, json=body, headers=headers) as answer:
            is_replay = answer.headers.get("idempotency-replayed") == "true"
            return answer.status, json.loads(await answer.read()), is_replay

    async def append(self, append: Append) -> tuple[str, int, bool]:
        """Send it; the id and number it got, and whether that was so before."""
        body = {"messages": [{"role": "user", "content": append.text}]}
        path = f"/chats/{append.chat_id}/messages"
        status, answer, is_replay = await self.ask("POST", path, body, append.key)
        assert status == 201, f"{status}: {answer}"
        (item,) = answer["items"]
        return item["id"], item["seq"], is_replay

    async def start_run(self, chat_id: str, key: str) -> asyncio.Task[None]:
        """Ask the model, whose answer has begun when this returns; the task ends with the connection."""
        has_begun = asyncio.Event()

        async def listen() -> None:
            body = {"message": QUESTION, "stream": True}
            headers = {"Idempotency-Key": key}
            try:
                async with self._session.post(
                    f"{API}/chats/{chat_id}/generate", json=body, headers=headers
                ) as answer:
                    assert answer.status == 200
                    async for line in answer.content:
                        if line.startswith(b"event: delta"):
                            has_begun.set()
            except BROKEN:
                pass

        task = asyncio.create_task(listen())
        await asyncio.wait_for(has_begun.wait(), 10)
        return task


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Folder]:
    with Nursery() as nursery:
        async with ScriptedUpstream() as upstream:
            yield Folder(tmp_path / "data", upstream, nursery)


@pytest.fixture
async def on_postgres(folder: Folder, request: pytest.FixtureRequest) -> Folder:
    folder.settings = settings_on("postgres", request)
    return folder


async def test_twenty_kills(folder: Folder) -> None:
    await kill_again_and_again(folder, seed=5, rounds=20)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 15))
async def test_fifty_kills_each(folder: Folder, seed: int) -> None:
    await kill_again_and_again(folder, seed=seed, rounds=50)


async def test_a_kill_on_postgres(on_postgres: Folder) -> None:
    await kill_again_and_again(on_postgres, seed=6, rounds=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(15, 20))
async def test_fifty_kills_each_on_postgres(on_postgres: Folder, seed: int) -> None:
    await kill_again_and_again(on_postgres, seed=seed, rounds=50)


@pytest.mark.long
async def test_kills_of_the_command_itself(folder: Folder) -> None:
    await kill_again_and_again(folder, seed=7, rounds=15, is_fresh=True)


async def kill_again_and_again(folder: Folder, *, seed: int, rounds: int, is_fresh: bool = False) -> None:
    server = await folder.serve(is_fresh=is_fresh)
    async with Client(server, folder.key) as client:
        await furnish(folder, client)
    for number in range(rounds):
        name = f"seed {seed}, round {number}"
        await one_round(folder, server, Random(f"{seed}.{number}"), name)
        is_last = number == rounds - 1
        server = await folder.serve(is_fresh=is_fresh or is_last, folds_often=number % 2 == 0)
        async with Client(server, folder.key) as client:
            await settle(folder, client)
        assert examine(folder.database, folder.ledger) == [], name
    await server.kill()
    assert len(folder.ledger.answered) > rounds * 50
    assert await doctor_finds(folder.settings, folder.data) == []


async def furnish(folder: Folder, client: Client) -> None:
    """The chats that all rounds write into, once the model is known."""
    for _ in range(400):
        _, models, _ = await client.ask("GET", "/models")
        if models["items"]:
            break
        await asyncio.sleep(0.01)
    for _ in range(CHATS):
        _, chat, _ = await client.ask("POST", "/chats", {})
        folder.chats.append(chat["id"])


async def one_round(folder: Folder, server: ServerProcess, random: Random, name: str) -> None:
    """Sixteen clients write and one run is under way when the server dies."""
    plan = deque(
        Append(
            random.choice(folder.chats), f"{name}, request {place}", _text(random, f"{name}, text {place}")
        )
        for place in range(APPENDS)
    )
    dies_after = len(folder.ledger.answered) + random.randrange(50, 250)
    dies_late_s = random.uniform(0, 0.02)
    is_time = asyncio.Event()

    async def work(client: Client) -> None:
        while plan:
            append = plan.popleft()
            folder.ledger.open.add(append)
            try:
                message_id, seq, is_replay = await client.append(append)
            except BROKEN:
                return
            assert not is_replay
            folder.ledger.acknowledge(append, message_id, seq)
            if len(folder.ledger.answered) >= dies_after:
                is_time.set()

    async with Client(server, folder.key) as client:
        folder.upstream.play(Script(["I am ", "not sure"], failure="silent"))
        _, chat, _ = await client.ask("POST", "/chats", {})
        folder.asked.append((chat["id"], f"{name}, run"))
        listening = await client.start_run(*folder.asked[-1])
        workers = [asyncio.create_task(work(client)) for _ in range(CLIENTS)]
        await asyncio.wait_for(is_time.wait(), 60)
        await asyncio.sleep(dies_late_s)
        await server.kill()
        await asyncio.gather(listening, *workers)


async def settle(folder: Folder, client: Client) -> None:
    """After the restart: the cut run is told truly, and what was under way is asked again and done once."""
    chat_id, key = folder.asked[-1]
    async with asyncio.timeout(leases_s(folder.settings) or None):
        while (await client.ask("GET", f"/chats/{chat_id}"))[1]["status"] == "generating":
            assert folder.settings, "a dead run is running"
            await asyncio.sleep(0.05)
    for _ in range(2):
        _, chat, _ = await client.ask("GET", f"/chats/{chat_id}")
        assert (chat["status"], chat["last_error"]) == ("error", INTERRUPTED)
        assert chat["last_error_at"] > chat["created_at"]
        asked, answered = chat["messages"]
        assert (asked["role"], asked["content"]) == ("user", QUESTION)
        assert (answered["role"], answered["status"]) == ("assistant", "incomplete")
        assert answered["content"] in ("I am ", "I am not sure")  # all that was durable, and some was read
        status, problem, _ = await client.ask(
            "POST", f"/chats/{chat_id}/generate", {"message": QUESTION, "stream": True}, key
        )
        assert status >= 500
        assert problem["code"] == "provider_failed"
    await asyncio.gather(*(retry(folder, client, append) for append in list(folder.ledger.open)))
    for append in list(folder.ledger.answered)[-5:]:
        told = folder.ledger.answered[append]
        assert await client.append(append) == (told.message_id, told.seq, True)


async def retry(folder: Folder, client: Client, append: Append) -> None:
    """Whatever became of it before, it is written once now, and told the same from then on."""
    message_id, seq, _ = await client.append(append)
    folder.ledger.acknowledge(append, message_id, seq)
    assert await client.append(append) == (message_id, seq, True)


def _text(random: Random, name: str) -> str:
    """A text that is there once only, of any length up to some pages of the file."""
    return f"{name} {'ä' * random.choice((0, 10, 200, 2_000, 9_000))}"
