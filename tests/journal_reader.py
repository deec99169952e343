"""Readers of a chat's journal as a client would write them, for tests: one applies events to a copy of the chat, one
follows a chat with a cursor through cuts and restarts, by any transport.

`Reader.breaches` says in sentences what no reader may ever see: a gap, an event twice, one out of order.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import aiohttp

API = "/chatkeep/v1"
ENDS = ("run.completed", "run.stopped", "run.failed")
BROKEN = (aiohttp.ClientError, ConnectionError, TimeoutError)
IDS = ("id", "organisation_id")  # the reader knows them, so they are in no event

RETRY_S = 0.05  # a browser waits a second
Transport = Literal["sse", "poll", "ws"]
TRANSPORTS: tuple[Transport, ...] = get_args(Transport)


class Copy:
    """A chat as its events tell it. Thirty lines, because a client should need no more."""

    def __init__(self) -> None:
        self.chat: dict[str, Any] = {}
        self.messages: dict[str, dict[str, Any]] = {}
        self._answers: dict[str, str] = {}  # by run
        self._has_older = False  # messages that the snapshot had no room for

    def apply(self, event: dict[str, Any]) -> None:
        """Let the next event change the copy."""
        if event["type"] == "snapshot":
            self.chat, self._has_older = {**event["chat"]}, event["has_more"]
            self.messages = {message["id"]: {**message} for message in event["messages"]}
        else:
            self.chat.update(event.get("chat", {}), version=event["seq"])
        if event["type"] == "run.started":
            self._answers[event["run_id"]] = event["answer_id"]
        if event["type"] == "run.delta":
            self._answer(event["run_id"])["content"] += event["text"]
        if event["type"] == "run.source":
            answer = self._answer(event["run_id"])
            answer["sources"] = [*(answer["sources"] or ()), event["source"]]
        if event["type"] == "run.tool_call":
            answer, call = self._answer(event["run_id"]), event["tool_call"]
            function = {"name": call["name"], "arguments": call["arguments"]}
            call = {"id": call["id"], "type": "function", "function": function}
            answer["tool_calls"] = [*(answer["tool_calls"] or ()), call]
        if event["type"] in ENDS and event["message"] is not None:
            told = self._answer(event["run_id"])
            for name in ("content", "sources", "tool_calls"):
                assert told[name] == event["message"][name], (
                    f"the end tells other {name} than was told before"
                )
        if message := event.get("message"):
            self.messages[message["id"]] = {**message}
            if event["run_id"] is not None:
                self._answers[event["run_id"]] = message["id"]

    def _answer(self, run_id: str) -> dict[str, Any]:
        if (
            run_id not in self._answers
        ):  # the snapshot came after the run's first word: it shows one unfinished answer
            (self._answers[run_id],) = (
                message["id"] for message in self.messages.values() if message["status"] == "generating"
            )
        return self.messages[self._answers[run_id]]

    def differs_from(self, chat: dict[str, Any], messages: list[dict[str, Any]]) -> dict[str, Any]:
        """Each field that is not as the server tells it when asked, with both values."""
        fresh = {**{name: value for name, value in chat.items() if name != "messages"}}
        found: dict[str, Any] = {
            name: (self.chat.get(name), value)
            for name, value in fresh.items()
            if self.chat.get(name) != value and (name in self.chat or name not in IDS)
        }
        known = [number for number, message in enumerate(messages) if message["id"] in self.messages]
        for message in messages[known[0] if self._has_older and known else 0 :]:
            plain = {name: value for name, value in message.items() if name != "children_ids"}
            if self.messages.get(message["id"]) != plain:
                found[message["id"]] = (self.messages.get(message["id"]), plain)
        for message_id in set(self.messages) - {message["id"] for message in messages}:
            found[message_id] = (self.messages[message_id], None)
        return found


@dataclass
class Reader:
    """Follows one chat over any number of connections; `after` None begins with a snapshot."""

    chat_id: str
    transport: Transport = "sse"
    after: int | None = 0
    copy: Copy = field(default_factory=Copy)
    seen: list[dict[str, Any]] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    farewells: int = 0
    refusals: list[dict[str, Any]] = field(default_factory=list)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def path(self) -> str:
        """What is asked for."""
        asked = [] if self.after is None else [f"after={self.after}"]
        asked += ["wait_s=2"] if self.transport == "poll" else []
        way = "ws" if self.transport == "ws" else "events"
        return f"{API}/chats/{self.chat_id}/{way}?{'&'.join(asked)}"

    async def follow(self, session: aiohttp.ClientSession) -> None:
        """Read until the server goes away, or ends the stream for good."""
        while not self.refusals:
            before = self.farewells
            try:
                await self.once(session)
            except (AssertionError, KeyError, ValueError, aiohttp.WSServerHandshakeError) as error:
                self.breaches.append(f"{self.chat_id}: after {self.after}: {error!r}")
                self._moved.set()
                return
            except BROKEN:
                return
            if self.farewells > before:
                await asyncio.sleep(RETRY_S)

    async def once(self, session: aiohttp.ClientSession, bytes_max: int | None = None) -> None:
        """One connection to its end, or to a cut after so many bytes."""
        if self.transport == "ws":
            async with session.ws_connect(self.path) as socket:
                await self._hear(socket, bytes_max)
            return
        async with session.get(self.path) as answer:
            assert answer.status == 200, f"{answer.status}: {await answer.text()}"
            if self.transport == "poll":
                for event in (await answer.json())["items"]:
                    self.take(event)
            else:
                await self._read(answer, bytes_max)
            if bytes_max is not None:
                answer.close()

    def as_of(self, seq: int, transport: Transport) -> Reader:
        """Somebody who has read what this one has, up to there, and comes back."""
        before = Reader(self.chat_id, transport)
        for event in self.seen:
            if event["seq"] <= seq:
                before.take(event)
        return before

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse, bytes_max: int | None) -> None:
        count = 0
        async for message in socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                return
            self._frame(json.loads(message.data))
            count += len(message.data)
            if bytes_max is not None and count >= bytes_max:
                return

    async def _read(self, answer: aiohttp.ClientResponse, bytes_max: int | None) -> None:
        rest, count = b"", 0
        async for some in answer.content.iter_any():
            count += len(some)
            kept = some if bytes_max is None else some[: max(0, len(some) - max(0, count - bytes_max))]
            *blocks, rest = (rest + kept).split(b"\n\n")
            for block in blocks:
                self._block(block)
            if bytes_max is not None and count >= bytes_max:
                return

    def take(self, event: dict[str, Any]) -> None:
        """The next event."""
        if event["type"] == "snapshot":
            if self.after is not None and event["seq"] < self.after:
                self.breaches.append(f"{self.chat_id}: a snapshot of {event['seq']} after {self.after}")
        elif self.after is None or event["seq"] != self.after + 1:
            self.breaches.append(f"{self.chat_id}: event {event['seq']} came after {self.after}")
        self.after = event["seq"]
        self.seen.append(event)
        self.copy.apply(event)
        self._moved.set()

    async def until(self, seq: int, within_s: float = 20.0) -> None:
        """Wait until it has read so far."""
        async with asyncio.timeout(within_s):
            while self.after is None or self.after < seq:
                assert self.breaches == []
                self._moved.clear()
                await self._moved.wait()

    async def until_type(self, *types: str, within_s: float = 20.0) -> dict[str, Any]:
        """Wait for the first event of one of these types; the event."""
        async with asyncio.timeout(within_s):
            while True:
                for event in self.seen:
                    if event["type"] in types:
                        return event
                self._moved.clear()
                await self._moved.wait()

    def _block(self, block: bytes) -> None:
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b": "))
        if b"data" not in fields:
            return  # a heartbeat, or `retry`
        event = json.loads(fields[b"data"])
        assert fields[b"event"].decode() == event["type"]
        if b"id" in fields and "seq" in event:
            assert int(fields[b"id"]) == event["seq"]
        self._frame(event)

    def _frame(self, event: dict[str, Any]) -> None:
        if event["type"] == "reconnect":
            self.farewells += 1
            if event["after"] != (self.after or 0):
                self.breaches.append(
                    f"{self.chat_id}: told to come back with {event['after']}, not {self.after}"
                )
        elif event["type"] == "error":
            self.refusals.append(event)
        else:
            self.take(event)
