"""The isolation matrix of WebSockets: who hears a chat, who is answered in it, and what everybody else is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from chatkeep.domain.limits import Limits
from tests.unit.edge.serving import Running, running, with_lifespan
from tests.world import NATIVE, Caller, World

SOCKETS = {"/chats/{chat_id}/ws"}
UNKNOWN = "01a20000-0000-7000-8000-000000000000"
CANARY = "canary-of-the-owner"


@asynccontextmanager
async def opened(served: Running, chat_id: str, caller: Caller) -> AsyncIterator[ClientConnection]:
    url = f"ws://127.0.0.1:{served.port}{NATIVE}/chats/{chat_id}/ws"
    async with connect(url, additional_headers=caller.bearer) as socket:
        yield socket


async def told(served: Running, chat_id: str, caller: Caller, *frames: dict[str, Any]) -> list[Any]:
    """The first frame, and then the answer to each of ours."""
    async with opened(served, chat_id, caller) as socket:
        found = [orjson.loads(await socket.recv())]
        for frame in frames:
            await socket.send(orjson.dumps(frame).decode())
            while True:
                answer = orjson.loads(await socket.recv())
                if answer["type"] in ("done", "error"):
                    found.append(answer)
                    break
        return found


async def refused(served: Running, caller: Caller) -> int:
    with pytest.raises(InvalidStatus) as error:
        await told(served, UNKNOWN, caller)
    return int(error.value.response.status_code)


async def test_who_hears_a_chat_and_who_speaks_in_it(world: World) -> None:
    chat = await world.native("POST", "/chats", title=CANARY)
    open_chat = await world.native("POST", "/chats", title=CANARY, visibility="organization")
    stranger, member = await world.organisation(), await world.person()
    reader, blind = await world.person("read-only"), await world.person(scopes=("models:read",))
    revoked, disabled = await world.person(), await world.person()
    await world.revoke(revoked)
    await world.disable(disabled)
    say, stop = {"type": "send", "message": "Hi"}, {"type": "stop"}
    async with running(with_lifespan(world.server.edge), Limits()) as served:
        # The owner's positive control.
        first, *answers = await told(served, chat["id"], world.owner, stop, say)
        assert (first["type"], first["chat"]["title"]) == ("snapshot", CANARY)
        assert [each["type"] for each in answers] == ["done", "done"]
        # What is foreign, private or unknown looks the same, whoever asks.
        for caller in (stranger, member, reader):
            foreign = await told(served, chat["id"], caller)
            assert foreign == await told(served, UNKNOWN, caller)
            assert foreign == [{"type": "error", "code": "not_found", "detail": "Chat not found."}]
        assert (await told(served, open_chat["id"], stranger))[0]["code"] == "not_found"
        # Who may only read hears, and is not answered.
        first, *answers = await told(served, open_chat["id"], reader, say, stop)
        assert first["type"] == "snapshot"
        assert [each["code"] for each in answers] == ["missing_scope", "missing_scope"]
        first, *answers = await told(served, open_chat["id"], member, say, stop)
        assert first["type"] == "snapshot"
        assert [each["code"] for each in answers] == ["not_allowed", "not_allowed"]
        assert (await told(served, open_chat["id"], blind))[0]["code"] == "missing_scope"
        for caller in (revoked, disabled):
            assert await refused(served, caller) == 401
    read = await world.native("GET", f"/chats/{open_chat['id']}")
    assert (read["version"], read["messages"]) == (open_chat["version"], [])
