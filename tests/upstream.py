"""A model provider to test against: a real HTTP server on loopback that speaks OpenAI's streamed chat completions.

In a test: `async with ScriptedUpstream(Script(["Hel", "lo"])) as upstream:` and give `upstream.base_url` to the code.
Each request plays the next script; after the last one (or with none) it echoes: "You said: <last user text>", word by
word. From other processes: `python -m tests.upstream --port N`, which prints its base URL once it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from aiohttp import web

LOOPBACK = "127.0.0.1"

# What goes wrong, after the script's chunks were sent unless said otherwise:
#   never_answers  takes the request and sends nothing, not even a status
#   cut            breaks the connection in the middle of the stream
#   silent         says nothing more and keeps the connection open
#   garbage        sends a data line that is not JSON, and goes on
#   error_chunk    sends an error object, as OpenRouter and llama.cpp do
#   no_finish      ends the stream properly, but without finish_reason and [DONE]
Failure = Literal["never_answers", "cut", "silent", "garbage", "error_chunk", "no_finish"]


@dataclass(frozen=True)
class Script:
    """One answer: what is said, which pages and calls of tools (id, name, arguments) it names, how fast, how it ends.

    Times in seconds.
    """

    chunks: Sequence[str] = ()
    reasoning: Sequence[str] = ()
    reasoning_field: str = "reasoning_content"
    delay_s: float = 0.0
    first_delay_s: float = 0.0
    failure: Failure | None = None
    finish_reason: str = "stop"
    usage: tuple[int, int] | None = (7, 5)
    cost: float | None = None
    sends_done: bool = True
    sources: Sequence[str] = ()
    calls: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True)
class Refusal:
    """One answer that is only an HTTP status and a body."""

    status: int
    body: str = ""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """One answer byte by byte: each item is its own write, and a `None` waits until the test calls `go_on`."""

    writes: Sequence[bytes | None]
    content_type: str = "text/event-stream"


class _RawAnswer:
    """A `Raw` that was asked for. Its steps are its own: what is left of them when it breaks off is nobody's."""

    def __init__(self, script: Raw) -> None:
        self.script = script
        self.steps_left = list(script.writes).count(None)
        self.steps = asyncio.Semaphore(0)

    def go_on(self) -> None:
        self.steps_left -= 1
        self.steps.release()


class ScriptedUpstream:
    """The server. `requests` and `headers` hold what came in, in order; `models` is what `GET /v1/models` lists."""

    def __init__(
        self,
        *scripts: Script | Refusal | Raw,
        models: Sequence[dict[str, Any]] = ({"id": "scripted", "object": "model"},),
        echo_delay_s: float = 0.0,
        port: int = 0,
    ) -> None:
        self.models: Any = list(models)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.disconnects = 0  # answers that the client broke off
        self._scripts: list[Script | Refusal | _RawAnswer] = []
        self._echo_delay_s = echo_delay_s
        self._port = port
        self._changed = asyncio.Condition()
        self._raw: list[_RawAnswer] = []  # to be played, or under way
        self._runner: web.AppRunner | None = None
        self.play(*scripts)

    @property
    def base_url(self) -> str:
        """What to configure: with `/v1`."""
        return f"http://{LOOPBACK}:{self._port}/v1"

    def play(self, *scripts: Script | Refusal | Raw) -> None:
        """Add answers for the requests to come."""
        for script in scripts:
            if isinstance(script, Raw):
                answer = _RawAnswer(script)
                self._raw.append(answer)
                self._scripts.append(answer)
            else:
                self._scripts.append(script)

    def go_on(self) -> None:
        """Let the first `Raw` answer that is not over, if there is one, pass its next `None` once it comes to it."""
        for answer in self._raw:
            if answer.steps_left:
                answer.go_on()
                break

    async def until_disconnects(self, count: int = 1) -> None:
        """Wait until so many answers were broken off by the client."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.disconnects >= count)

    async def until_requests(self, count: int = 1) -> None:
        """Wait until so many requests came in."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= count)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=256 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._list)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _list(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        if self._scripts and isinstance(self._scripts[0], Refusal):
            return _refuse(self._scripts.pop(0))
        return web.json_response({"object": "list", "data": self.models})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json()
            async with self._changed:
                self.requests.append(body)
                self.headers.append(dict(request.headers))
                self._changed.notify_all()
            script = self._scripts.pop(0) if self._scripts else self._echo(body)
            return await self._answer(request, script, body)
        except (asyncio.CancelledError, ConnectionResetError):
            self.disconnects += 1
            async with self._changed:
                self._changed.notify_all()
            raise

    async def _answer(
        self, request: web.Request, script: Script | Refusal | _RawAnswer, body: dict[str, Any]
    ) -> web.StreamResponse:
        if isinstance(script, Refusal):
            return _refuse(script)
        if isinstance(script, Script) and script.failure == "never_answers":
            await asyncio.Event().wait()
        content_type = "text/event-stream" if isinstance(script, Script) else script.script.content_type
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        if isinstance(script, Script):
            await _play(request, response, script, body)
        else:
            await self._play_raw(response, script)
        return response

    async def _play_raw(self, response: web.StreamResponse, answer: _RawAnswer) -> None:
        try:
            for item in answer.script.writes:
                if item is None:
                    await answer.steps.acquire()
                else:
                    await response.write(item)
        finally:
            self._raw.remove(answer)

    def _echo(self, body: dict[str, Any]) -> Script:
        said = [turn["content"] for turn in body["messages"] if turn["role"] == "user"]
        text = f"You said: {said[-1] if said else ''}"
        words = re.findall(r"\S+\s*|\s+", text)
        read = sum(len(str(turn["content"]).split()) for turn in body["messages"])
        return Script(words, delay_s=self._echo_delay_s, usage=(read, len(words)))


def event(chunk: dict[str, Any]) -> bytes:
    """One chunk as it goes over the wire."""
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def text_event(text: str, field_name: str = "content") -> bytes:
    """A piece of text as it goes over the wire; lone surrogates go as escapes."""
    return event(
        {"id": "1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {field_name: text}}]}
    )


def source_event(url: str, title: str | None = None) -> bytes:
    """A page that the answer names, as OpenAI and OpenRouter send it."""
    note = {"type": "url_citation", "url_citation": {"url": url, "title": title}}
    return event({"id": "1", "choices": [{"index": 0, "delta": {"annotations": [note]}}]})


def call_events(index: int, call_id: str, name: str, *arguments: str) -> list[bytes]:
    """A call of a tool as OpenAI streams it: first id and name, then its arguments piece by piece."""
    head = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
    pieces = [head, *({"index": index, "function": {"arguments": each}} for each in arguments)]
    return [event({"id": "1", "choices": [{"index": 0, "delta": {"tool_calls": [each]}}]}) for each in pieces]


def finish_event(reason: str = "stop") -> bytes:
    """The end of the answer as it goes over the wire."""
    return event({"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


def usage_event(read: int, written: int, cost: float | None = None) -> bytes:
    """The count of tokens as it goes over the wire, with what they cost where the provider tells it."""
    usage: dict[str, Any] = {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }
    if cost is not None:
        usage["cost"] = cost
    return event({"id": "1", "choices": [], "usage": usage})


DONE = b"data: [DONE]\n\n"


async def _play(
    request: web.Request, response: web.StreamResponse, script: Script, body: dict[str, Any]
) -> None:
    await asyncio.sleep(script.first_delay_s)
    await response.write(
        event({"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]})
    )
    pieces = [(script.reasoning_field, text) for text in script.reasoning]
    pieces += [("content", text) for text in script.chunks]
    for number, (field_name, text) in enumerate(pieces):
        if number:
            await asyncio.sleep(script.delay_s)
        await response.write(text_event(text, field_name))
    for named in _named(script):
        await response.write(named)
    match script.failure:
        case "cut":
            assert request.transport is not None
            request.transport.abort()
            return
        case "silent":
            await asyncio.Event().wait()
        case "garbage":
            await response.write(b"data: {this is not json\n\n")
        case "error_chunk":
            await response.write(event({"error": {"message": "the model fell over", "code": 500}}))
        case "no_finish":
            return
        case _:
            pass
    await response.write(finish_event(script.finish_reason))
    if script.usage is not None and (body.get("stream_options") or {}).get("include_usage"):
        await response.write(usage_event(*script.usage, script.cost))
    if script.sends_done:
        await response.write(DONE)


def _named(script: Script) -> list[bytes]:
    found = [source_event(url) for url in script.sources]
    for index, (call_id, name, arguments) in enumerate(script.calls):
        middle = len(arguments) // 2
        found += call_events(index, call_id, name, arguments[:middle], arguments[middle:])
    return found


def _refuse(refusal: Any) -> web.Response:
    return web.Response(
        status=refusal.status, text=refusal.body, content_type=refusal.content_type, headers=refusal.headers
    )


async def _serve(port: int, delay_s: float) -> None:
    async with ScriptedUpstream(port=port, echo_delay_s=delay_s) as upstream:
        sys.stdout.write(f"{upstream.base_url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: one that is free")
    parser.add_argument("--delay-s", type=float, default=0.0, help="between two words")
    arguments = parser.parse_args()
    try:
        asyncio.run(_serve(arguments.port, arguments.delay_s))
    except KeyboardInterrupt:
        pass
