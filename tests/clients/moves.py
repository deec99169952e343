"""How a field of a page's answer is made to move: tables of rows, one a field, and what their steps have in common.

A row's steps are an async generator over a running world. It yields the whole answer of GET again and again, and
between two of them something happens through an API or time passes: the row's field must differ from one to the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tests.flows.cuadra_client import until_idle
from tests.upstream import DONE, Raw, Script, finish_event, text_event
from tests.world import NATIVE, Caller, World

ABSENT = "absent"
Answer = dict[str, Any]
Steps = Callable[[World], AsyncIterator[Any]]
Seen = Sequence[Any] | Callable[[list[Any]], bool]


@dataclass(frozen=True)
class Elsewhere:
    """A step that is seen not in the dialect's own answer to GET: the field's value, from where the row says."""

    value: Any


@dataclass(frozen=True)
class Move:
    """How a field moves. `seen`: its values in order, a type standing for any value of it; or what is true of them."""

    steps: Steps
    seen: Seen


@dataclass(frozen=True)
class Table:
    """One dialect's rows by dotted field. `still` are the fields that nothing can move yet, each with its reason."""

    dialect: str
    still: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Move] = field(default_factory=dict)

    def row(self, name: str, seen: Seen) -> Callable[[Steps], Steps]:
        """The decorated steps move the field."""

        def add(steps: Steps) -> Steps:
            assert name not in self.rows, f"two rows for {name}"
            self.rows[name] = Move(steps, seen)
            return steps

        return add


def rises(values: list[Any]) -> bool:
    """Each value is greater than the one before."""
    return values == sorted(set(values))


def differs(values: list[Any]) -> bool:
    """That no two neighbours are alike is asked of every row; of these no more."""
    return len(values) > 1


def value_at(answer: Any, path: str) -> Any:
    """The value of a dotted field, `*` being the last of many; `ABSENT` where there is no such place."""
    value = answer
    for name in path.split("."):
        if name == "*":
            many = list(value.values()) if isinstance(value, dict) else value
            value = many[-1] if many else ABSENT
        elif isinstance(value, dict):
            value = value.get(name, ABSENT)
        else:
            return ABSENT
    return value


def is_as_told(values: list[Any], seen: Seen) -> bool:
    """Whether the values are the ones that a row tells."""
    if callable(seen):
        return seen(values)
    pairs = list(zip(values, seen, strict=False))
    return len(values) == len(seen) and all(
        isinstance(value, told) if isinstance(told, type) else value == told for value, told in pairs
    )


async def get(world: World, path: str, caller: Caller | None = None) -> Any:
    """A GET that must succeed; its JSON."""
    response = await world.client.get(path, headers=(caller or world.owner).bearer)
    assert response.status_code == HTTPStatus.OK, response.text
    return response.json()


async def is_gone(world: World, path: str, status: int = HTTPStatus.NOT_FOUND) -> bool:
    """Whether GET says that there is no such chat."""
    response = await world.client.get(path, headers=world.owner.bearer)
    return response.status_code == status


async def new_chat(world: World, caller: Caller | None = None, **fields: Any) -> str:
    """The id of a new chat from the native API."""
    made = await world.native("POST", "/chats", caller, **{"pinned": False, **fields})
    return str(made["id"])


async def patch(world: World, chat_id: str, **fields: Any) -> None:
    """A change through the native API, a minute later."""
    world.clock.advance(60)
    await world.native("PATCH", f"/chats/{chat_id}", **fields)


async def say(world: World, chat_id: str, role: str, content: str) -> str:
    """Append a message through the native API, a minute later; its id."""
    world.clock.advance(60)
    body = [{"role": role, "content": content}]
    written = await world.native("POST", f"/chats/{chat_id}/messages", messages=body)
    return str(written["items"][0]["id"])


async def generate(world: World, chat_id: str, message: str = "And now?") -> None:
    """A turn through the native API, a minute later."""
    world.clock.advance(60)
    await world.native("POST", f"/chats/{chat_id}/generate", message=message)


async def fail(world: World, chat_id: str) -> None:
    """A turn that the model's provider breaks off."""
    world.upstream.play(Script(["Half an"], failure="cut"))
    path = f"{NATIVE}/chats/{chat_id}/generate"
    response = await world.client.post(path, headers=world.owner.bearer, json={"message": "Hi"})
    assert response.status_code == HTTPStatus.BAD_GATEWAY


@asynccontextmanager
async def answering(world: World, chat_id: str) -> AsyncIterator[None]:
    """Inside, a turn has begun, the model has said something and not finished."""
    world.upstream.play(Raw([text_event("So far"), None, text_event("."), finish_event(), DONE]))
    after = (await world.native("GET", f"/chats/{chat_id}"))["version"]
    asking = asyncio.create_task(generate(world, chat_id, "Slowly"))
    await world.until_said(chat_id, after=after)
    yield
    world.upstream.go_on()
    await asking
    await until_idle(world)
