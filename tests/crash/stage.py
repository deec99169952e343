"""A data folder, or a database, the lives of its servers, chats with verbs under way, and readers who outlive them.

What clients were told is noted, and `judge` compares it with the file, with what readers saw, and with the server's own
answers. A stage knows nothing of how its servers die.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from tests.crash.journal_judge import against, examine_journals, journal
from tests.crash.ledger import Ledger, examine
from tests.crash.nursery import Wanted
from tests.crash.place import Place, place_of
from tests.crash.process import Nursery, ServerProcess
from tests.crash.storyteller import Storyteller, is_told, question
from tests.journal_reader import API, BROKEN, TRANSPORTS, Reader, Transport

SETTINGS = {
    "sweep_interval_s": 3600,
    "runs_per_organisation_max": 500,
    "streams_per_principal_max": 2000,
    "streams_per_organisation_max": 2000,
    "drain_s": 1.5,
}
Asked = tuple[str, str, Any]  # path, Idempotency-Key, body


class Client:
    """Speaks to one life of the server."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        """Status and JSON."""
        headers = {} if key is None else {"Idempotency-Key": key}
        async with self.session.request(method, API + path, json=body, headers=headers) as answer:
            raw = await answer.read()
            return answer.status, json.loads(raw) if raw else None

    async def get(self, path: str) -> Any:
        """What must be there."""
        status, found = await self.ask("GET", path)
        assert status == 200, f"{path}: {status} {found}"
        return found

    async def messages(self, chat_id: str) -> list[Any]:
        """All messages of a chat, of all branches."""
        found: list[Any] = []
        page: dict[str, Any] = {"next_cursor": ""}
        while page["next_cursor"] is not None:
            cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else ""
            page = await self.get(f"/chats/{chat_id}/messages?branch=all&limit=100{cursor}")
            found += page["items"]
        return found


@dataclass
class Chat:
    """A chat, who reads it, and what its clients were told or wait for."""

    id: str
    readers: list[Reader] = field(default_factory=list)
    open: list[Asked] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)  # messages, as acknowledged
    stopped: list[str] = field(default_factory=list)  # runs whose stop was acknowledged


@dataclass
class Stage:
    """The folder and everything that outlives its servers."""

    data: Path
    upstream: Storyteller
    nursery: Nursery
    settings: dict[str, Any] = field(default_factory=lambda: dict(SETTINGS))
    key: str = ""
    chats: list[Chat] = field(default_factory=list)
    count: int = 0
    asking: list[asyncio.Future[None]] = field(default_factory=list)
    reading: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def database(self) -> Place:
        return place_of(self.settings, self.data)

    def wanted(self, name: str = "server", **more: Any) -> Wanted:
        """The next life of a server; `more` as `Wanted` has it. Of several at once each has its name."""
        log = str(self.data.with_name(f"{name}.log"))
        settings = {**self.settings, "node_name": name}
        return Wanted(str(self.data), log, self.upstream.base_url, settings=settings, **more)

    async def serve(self, name: str = "server", *, is_fresh: bool = False, **more: Any) -> ServerProcess:
        """Start a server that takes requests."""
        server = ServerProcess(self.wanted(name, **more), None if is_fresh else self.nursery)
        await server.start()
        self.key = server.key or self.key
        return server

    @asynccontextmanager
    async def client(self, server: ServerProcess) -> AsyncIterator[Client]:
        """Somebody with the owner's key and as many connections as he likes."""
        async with aiohttp.ClientSession(
            server.url,
            headers={"Authorization": f"Bearer {self.key}"},
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=60),
        ) as session:
            yield Client(session)

    async def open_chats(self, client: Client, count: int, readers: int) -> None:
        """Keep two chats of before, with their readers, and open new ones, each with so many readers from its start."""
        while not (await client.get("/models"))["items"]:  # noqa: ASYNC110 - found in the background
            await asyncio.sleep(0.01)
        self.chats = self.chats[-2:]
        while len(self.chats) < count:
            status, made = await client.ask("POST", "/chats", {})
            assert status == 201
            chat = Chat(made["id"])
            for number in range(readers):
                transport: Transport = TRANSPORTS[number % 3]
                reader = Reader(chat.id, transport, None if number % 5 == 3 else 0)
                chat.readers.append(reader)
            self.chats.append(chat)

    def name(self) -> str:
        """A name that nothing else has."""
        self.count += 1
        return f"story{self.count}{'x' * (self.count % 2)}"

    async def post(self, client: Client, chat: Chat, path: str, body: Any) -> Any:
        """One verb under a key of its own; None where the connection broke before the answer, or it was refused."""
        asked = (f"/chats/{chat.id}/{path}", self.name(), body)
        chat.open.append(asked)
        try:
            status, answer = await client.ask("POST", asked[0], body, asked[1])
        except BROKEN:
            return None
        chat.open.remove(asked)
        if status < 300:
            _note(chat, answer)
            return answer
        assert status in (404, 409, 422, 502, 503), f"{asked}: {status} {answer}"
        return None

    async def act(self, client: Client, chat: Chat, random: Random) -> None:
        """Do one thing in a chat after the other, now and then stopping an answer, until the server is gone."""
        while not chat.open:
            await self._one_thing(client, chat, random)

    async def _one_thing(self, client: Client, chat: Chat, random: Random) -> None:
        answers = [message for message in chat.told if message["role"] == "assistant"]
        asked = [message for message in chat.told if message["role"] == "user"]
        words = random.choice((3, 20, 60))
        verbs = ["generate", "generate", "messages", *(["regenerate", "continue"] if answers else [])]
        verb = random.choice([*verbs, *(["edit"] if asked else [])])
        body: dict[str, Any] = {}
        match verb:
            case "generate":
                body = {"message": question(words, self.name())}
            case "messages":
                body = {"messages": [{"role": "user", "content": question(words, self.name())}]}
            case "regenerate" | "continue":
                body = {"message_id": random.choice(answers)["id"]}
            case _:
                verb = f"messages/{random.choice(asked)['id']}/edit"
                body = {"content": question(words, self.name())}
        doing = asyncio.ensure_future(self.post(client, chat, verb, body))
        if verb != "messages" and random.random() < 0.4:
            await asyncio.wait([doing], timeout=random.uniform(0, 0.2))
            if not doing.done():
                await self.post(client, chat, "stop", {})
        await doing

    async def retry(self, client: Client, chat: Chat) -> None:
        """Ask again what was under way, twice: whatever became of it, it happens once."""
        for path, key, body in chat.open:
            for _ in range(2):
                status, answer = await client.ask("POST", path, body, key)
                assert status < 300 or answer["code"] == "provider_failed", f"{path}: {status} {answer}"
                if status < 300:
                    _note(chat, answer)
        texts = [message["content"] for message in await client.messages(chat.id)]
        for _, _, body in chat.open:
            said = [message["content"] for message in body.get("messages", ())]
            for text in (*said, body.get("message"), body.get("content")):
                assert text is None or texts.count(text) == 1, f"{text!r} is there {texts.count(text)} times"
        chat.open.clear()

    async def caught_up(self, client: Client) -> None:
        """Wait until every reader has all there is; late ones come too, and read all of it."""
        for chat in self.chats:
            late = [Reader(chat.id), Reader(chat.id, "poll"), Reader(chat.id, "ws", None)]
            version = (await client.get(f"/chats/{chat.id}"))["version"]
            reading = [asyncio.ensure_future(reader.follow(client.session)) for reader in late]
            await asyncio.gather(*(reader.until(version) for reader in (*chat.readers, *late)))
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
            chat.readers[-3:] = late  # and stay

    async def judge(self, client: Client) -> list[str]:
        """Every way in which something was lost, doubled, or told wrongly."""
        found = [*examine(self.database, Ledger()), *examine_journals(self.database), *self.upstream.strange]
        for chat in self.chats:
            fresh = await client.get(f"/chats/{chat.id}")
            messages = await client.messages(chat.id)
            lines = journal(self.database, chat.id)
            for reader in chat.readers:
                found += reader.breaches
                found += [f"{chat.id}: {each}" for each in against(reader, lines)]
                if wrong := reader.copy.differs_from(fresh, messages):
                    found.append(f"{chat.id}: a {reader.transport} reader's copy differs: {wrong}")
            found += _kept(chat, messages, await client.get(f"/chats/{chat.id}/runs?limit=100"))
        return found


def _note(chat: Chat, answer: dict[str, Any]) -> None:
    if "run_id" in answer:
        chat.told += [answer["message"]] if answer["message"] else []
        return
    for item in answer["items"]:
        if "role" in item:
            chat.told.append(item)
        else:
            chat.stopped.append(item["id"])


def _kept(chat: Chat, messages: list[Any], runs: dict[str, Any]) -> list[str]:
    now = {message["id"]: message for message in messages}
    found = [
        f"{chat.id}: {told['id']} was told as {told['content']!r} and is {now.get(told['id'])}"
        for told in chat.told
        if not now.get(told["id"], {"content": ""})["content"].startswith(told["content"])
    ]
    found += [
        f"{chat.id}: words are missing in {message['content']!r}"
        for message in messages
        if message["role"] == "assistant" and not is_told(message["content"])
    ]
    states = {run["id"]: run["state"] for run in runs["items"]}
    return found + [
        f"{chat.id}: {run_id} was stopped and is {states[run_id]}"
        for run_id in chat.stopped
        if states.get(run_id) not in (None, "stopped", "completed")
    ]
