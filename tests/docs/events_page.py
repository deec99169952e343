"""Writes docs/events.md: the kinds from the shapes of `wire_events`, the examples from a story that really happens.

.venv/bin/python -m tests.docs.events_page > docs/events.md
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints

from typing_extensions import is_typeddict

from chatkeep.dialects.native import wire_events
from chatkeep.dialects.native.wire import ChatOut, MessageOut, SourceOut, UsageOut
from chatkeep.dialects.native.wire_runs import RunOut
from tests.flows.office import idle
from tests.upstream import DONE, Raw, Script, ScriptedUpstream, finish_event, text_event
from tests.world import NATIVE, FakeClock, World, open_world

Examples = Mapping[str, dict[str, Any]]
SHAPES: tuple[Any, ...] = get_args(wire_events.StreamOut)
NAMES = {str: "text", int: "integer", bool: "boolean", dict: "object"}
OBJECTS: dict[Any, str] = {
    ChatOut: "a chat",
    MessageOut: "a message",
    UsageOut: "tokens",
    RunOut: "a run",
    SourceOut: "`url`, `title`, `text`",
    wire_events.ToolCallTold: "`id`, `name`, `arguments`",
    wire_events.TitleOut: "`title`",
}


HEAD = """\
# Events

All that happens in a chat is in its journal, one sequence from 1 without gaps: a message that was written, a title that
changed, an answer piece by piece. `GET /chatkeep/v1/chats/{id}/events` reads it from any point and follows it, as
[api.md](api.md#follow-a-chat) shows. This page has every kind of event. `python -m tests.docs.events_page` writes it,
with examples that come from a running server.

- `seq` is the event's number, the cursor to come back with (`after`, `Last-Event-ID`), and the chat's `version` then.
- In a stream an event has its `seq` as `id:` and its `type` as `event:`; with `wait_s` they are the `items` of a page.
- `chat` has the fields of the chat that moved, as the chat itself shows them. Whoever keeps a copy overwrites them,
  puts each `message` in its place by its `id`, and has what a fresh reading has.
- `run_id` names the run (one generation of one answer) that an event belongs to, and is null where there is none.
- A `snapshot` comes first when a reader names no cursor, and in place of events that are folded away: an hour after an
  answer's end (`CHATKEEP_FOLD_AFTER_S`) its pieces are dropped, for its text is in its message.
- `reconnect` and `error` end a stream and are in no journal. A client passes over kinds that it does not know.
"""


def kinds_of(shape: Any) -> tuple[str, ...]:
    """The event types a shape is for."""
    return get_args(get_type_hints(shape)["type"])


def page(examples: Examples) -> str:
    """The whole page."""
    return HEAD + "".join(_section(shape, examples) for shape in SHAPES)


def examples_in(text: str) -> dict[str, dict[str, Any]]:
    """The examples of a page by their types."""
    found = [json.loads(each) for each in re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    return {each["type"]: each for each in found}


def _section(shape: Any, examples: Examples) -> str:
    kinds = kinds_of(shape)
    lines = [f"\n## {', '.join(kinds)}\n", cleandoc(shape.__doc__), "", "| field | |", "|---|---|"]
    lines += [f"| `{name}` | {_told(hint)} |" for name, hint in _fields(shape)]
    for kind in kinds:
        lines += ["", "```json", json.dumps(examples[kind], ensure_ascii=False, indent=1), "```"]
    return "\n".join(lines) + "\n"


def _fields(shape: Any) -> Iterator[tuple[str, Any]]:
    for name, hint in get_type_hints(shape, include_extras=True).items():
        if name not in ("seq", "type"):
            yield name, hint


def _told(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is NotRequired:
        return f"{_told(inner[0])}, not always there"
    if origin in (Union, UnionType):
        return " or ".join(sorted((_told(each) for each in inner), key=lambda told: told == "null"))
    if origin is list:
        return f"list of {_told(inner[0]).removeprefix('a ')}s"
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in inner)
    if hint is NoneType:
        return "null"
    return OBJECTS[hint] if is_typeddict(hint) else NAMES[origin or hint]


async def seen(folder: Path) -> dict[str, dict[str, Any]]:
    """One event of each type, as they come over the wire in a story of two servers, one after the other."""
    clock = FakeClock()
    async with ScriptedUpstream() as upstream:
        async with open_world(folder, clock, upstream) as world:
            asking = await _first_part(world)
        await asking  # its run was handed over
        async with open_world(folder, clock, upstream, titles="model") as world:
            await idle(world)
            journal = [*await _journal(world), await _titled(world)]
            streams = await _streams(world)
    examples: dict[str, dict[str, Any]] = {}
    for each in (*journal, *streams):
        examples.setdefault(each["type"], each)
    return examples


async def _first_part(world: World) -> asyncio.Task[Any]:
    generate = "/chats/capitals/generate"
    await world.native("POST", "/chats", id="capitals")
    await world.native("PATCH", "/chats/capitals", title="Capitals")
    page, call = "https://example.org/paris", ("call_Jt4", "weather", '{"city": "Paris"}')
    world.upstream.play(Script(["Par", "is."], reasoning=["The user asks for France."], sources=[page]))
    await world.native("POST", generate, message="What is the capital of France?")
    world.upstream.play(Script(calls=[call], finish_reason="tool_calls"), Script(["17 degrees."]))
    tools = [{"type": "function", "function": {"name": "weather"}}]
    await world.native("POST", generate, message="How warm is it there?", tools=tools)
    results = [{"tool_call_id": "call_Jt4", "content": '{"celsius": 17}'}]
    await world.native("POST", generate, tool_results=results)
    await world.native("DELETE", "/chats/capitals")
    await world.native("POST", "/chats/capitals/restore")
    world.upstream.play(Raw([text_event("Rome, "), None]))
    asking = asyncio.create_task(world.native("POST", generate, message="And of Italy?"))
    await _until(world, "Rome, ")
    await world.native("POST", "/chats/capitals/stop", run_id=None)
    await asking
    world.upstream.play(Script(["of course."]))
    await world.native("POST", "/chats/capitals/continue", message_id=None)
    world.upstream.play(Script(["Mad"], failure="error_chunk"))
    await _ask(world, generate, "And of Spain?")
    world.upstream.play(Raw([text_event("Lis"), None]), Raw([text_event("bon."), finish_event(), DONE]))
    asking = asyncio.create_task(_ask(world, generate, "And of Portugal?"))
    await _until(world, "Lis")
    return asking


async def _ask(world: World, path: str, message: str) -> None:
    """What comes of it is in the journal."""
    await world.client.post(NATIVE + path, headers=world.owner.bearer, json={"message": message})


async def _until(world: World, text: str) -> None:
    for _ in range(2000):
        if (await world.native("GET", "/chats/capitals"))["messages"][-1]["content"] == text:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never said: {text}")


async def _journal(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["seq"] if found else 0
        got = await world.native("GET", f"/chats/capitals/events?after={after}&wait_s=0")
        if not got["items"]:
            return found
        found += got["items"]


async def _titled(world: World) -> dict[str, Any]:
    world.upstream.play(Script(["The Seine."]), Script(["A river of Paris"]))
    await world.native("POST", "/chats", id="rivers")
    await world.native("POST", "/chats/rivers/generate", message="Which river flows through Paris?")
    while True:
        head = (await world.native("GET", "/chats/rivers"))["version"]
        page = await world.native("GET", f"/chats/rivers/events?after={head - 1}&wait_s=10")
        if page["items"][-1]["type"] == "chat.titled":
            event: dict[str, Any] = page["items"][-1]
            return event
        await world.native("GET", f"/chats/rivers/events?after={head}&wait_s=10")


async def _streams(world: World) -> list[dict[str, Any]]:
    """The first event and the last one of two streams: one whose chat is deleted, one whose server ends."""
    await world.native("POST", "/chats", id="brief")
    followed = asyncio.create_task(_stream(world, "brief"))
    await _until_open(world)
    await world.native("DELETE", "/chats/brief")
    error = (await followed)[-1]
    followed = asyncio.create_task(_stream(world, "capitals"))
    await _until_open(world)
    world.server.house.tail.close()
    found = await followed
    return [found[0], error, found[-1]]


async def _until_open(world: World) -> None:
    for _ in range(2000):
        if world.server.house.streams.count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the stream was never opened")


async def _stream(world: World, chat_id: str) -> list[dict[str, Any]]:
    response = await world.client.get(f"{NATIVE}/chats/{chat_id}/events", headers=world.owner.bearer)
    assert response.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.write(page(asyncio.run(seen(Path(scratch) / "data"))))
