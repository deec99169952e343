"""The isolation matrix of WebSockets: who hears a chat, who is answered in it, and what everybody else is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from chatkeep.domain.limits import Limits
from chatkeep.services import people
from chatkeep.store.statements import Engine
from tests.flows import lexicon_client, synthflow_client
from tests.flows.lexicon_socket import Sockets, sockets_of
from tests.security.estate import operator
from tests.security.exchanging import PREDICATE, exchangeable, exchanged, without
from tests.security.rows import open_rows
from tests.unit.edge.serving import Running, running, with_lifespan
from tests.upstream import ScriptedUpstream
from tests.world import NATIVE, Caller, FakeClock, World, open_world

SOCKETS = {"/chats/{chat_id}/ws", "/ws/chat"}
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


Look = tuple[str, str, str, int]
"""How a refusal looks: code, sentence without the chat's id, what to do, and the code it is closed with."""
NO_CHAT = "Chat with chat_id '#' not found or does not belong to your tenant"


async def looks(sockets: Sockets, chat_id: str, caller: Caller, user_id: str | None = None) -> Look:
    frame, code = await sockets.refusal(chat_id, user_id or caller.principal_id, caller)
    assert frame.keys() == {"event_type", "timestamp", "error_code", "error_message", "details"}
    assert frame["event_type"] == "error"
    sentence = frame["error_message"].replace(f"'{chat_id}'", "'#'")
    return frame["error_code"], sentence, frame["details"]["fix"], code


async def principals(world: World) -> int:
    """How many there are in the owner's organisation."""
    return len(await people.list_people(operator(world, world.owner)))


@pytest.fixture
async def sockets(world: World) -> AsyncIterator[Sockets]:
    async with sockets_of(world) as running_:
        yield running_


async def test_lexicons_refusals_look_the_same_whoever_is_refused(world: World, sockets: Sockets) -> None:
    chat = await lexicon_client.make(world, title=CANARY)
    stranger, member, reader = (
        await world.organisation(),
        await world.person(),
        await world.person("read-only"),
    )
    revoked, disabled = await world.person("admin"), await world.person("admin")
    own = (await lexicon_client.make(world, stranger))["id"]
    await world.revoke(revoked)
    await world.disable(disabled)
    ids = (chat["id"], UNKNOWN, "no-uuid", "\x00", "é" * 300)
    # The owner's positive control, and the stranger's.
    for chat_id, caller in ((chat["id"], world.owner), (own, stranger)):
        async with sockets.visit(chat_id, caller.principal_id, caller) as visitor:
            assert (await visitor.next())["event_type"] == "connection_established"
            await visitor.say("Hi")
            assert (await visitor.until("message_stream_ended"))[-1]["content"] == "You said: Hi"
    before = await world.native("GET", f"/chats/{chat['id']}")
    # What is foreign, private, unknown or no id at all looks the same, whoever asks, and whom they speak for.
    unseen = {await looks(sockets, each, caller) for each in ids for caller in (stranger, member, reader)}
    unseen |= {await looks(sockets, chat["id"], caller, "pupil") for caller in (stranger, member, reader)}
    ((code, sentence, _, closed),) = unseen
    assert (code, sentence, closed) == ("CHAT_NOT_FOUND", NO_CHAT, 4404)
    # Who is nobody, or nobody any more, learns nothing of any chat.
    nobody = {await looks(sockets, each, caller) for each in ids for caller in (revoked, disabled)}
    ((code, sentence, _, closed),) = nobody
    assert (code, sentence, closed) == ("AUTH_ERROR", "Invalid API key", 4401)
    assert await world.native("GET", f"/chats/{chat['id']}") == before


async def test_who_hears_a_chat_of_lexicons_and_who_is_answered_in_it(world: World, sockets: Sockets) -> None:
    chat = await lexicon_client.make(world)
    await world.native("PATCH", f"/chats/{chat['id']}", visibility="organization")
    member, reader = await world.person(), await world.person("read-only")
    narrow = await world.person("admin", ("chat:read",))
    blind = await world.person(scopes=("models:read",))
    there = await principals(world)
    # Nobody but an administrator speaks for others, known or not; and who may only read makes nobody.
    refused = [(member, "user123"), (member, "pupil"), (reader, "user123"), (reader, "pupil")]
    refused += [(narrow, "pupil"), (blind, blind.principal_id)]
    for caller, user_id in refused:
        code, _, _, closed = await looks(sockets, chat["id"], caller, user_id)
        assert (code, closed) == ("AUTH_ERROR", 4401), user_id
    for caller, user_id in (
        (member, member.principal_id),
        (reader, reader.principal_id),
        (narrow, "user123"),
    ):
        async with sockets.visit(chat["id"], user_id, caller) as visitor, sockets.visit(chat["id"]) as owner:
            assert (await visitor.next())["event_type"] == "connection_established"
            await visitor.say("Who am I?")
            answer = await visitor.next()
            assert (answer["event_type"], answer["error_code"]) == ("error", "AUTH_ERROR")
            await owner.next()
            await owner.say("Hi")
            assert await visitor.until("message_stream_ended") == await owner.until("message_stream_ended")
    read = await world.native("GET", f"/chats/{chat['id']}")
    assert [each["content"] for each in read["messages"]] == ["Hi", "You said: Hi"] * 3
    assert await principals(world) == there


async def check_twins(world: World, chat_id: str, one: Caller, other: Caller) -> None:
    """Two houses have a chat of the same id; what is open in one is not open in the other."""

    async def delete(caller: Caller) -> int:
        answer = await lexicon_client.ask(world, "DELETE", f"{lexicon_client.CHATS}/{chat_id}", caller)
        return answer.status_code

    for caller in (one, other):
        body = {"model_id": await synthflow_client.agent_of(world, caller)}
        made = await synthflow_client.ask(world, "POST", f"/v2/chat/{chat_id}", caller, json=body)
        assert made.status_code == 200, made.text
    async with sockets_of(world) as sockets, sockets.visit(chat_id, one.principal_id, one) as visitor:
        await visitor.next()
        async with sockets.visit(chat_id, other.principal_id, other) as opposite:
            await opposite.next()
            assert [await delete(caller) for caller in (one, other)] == [409, 409]
        async with asyncio.timeout(5):
            while await delete(other) == 409:  # noqa: ASYNC110 - that it has closed is told a little later
                await asyncio.sleep(0.01)
        assert await delete(one) == 409, "the other house's socket has closed, and not this one's"


async def test_a_socket_is_open_in_its_own_house(world: World) -> None:
    await check_twins(world, synthflow_client.SESSION, world.owner, await world.organisation())
    await check_twins(world, synthflow_client.OTHER, await world.organisation(), world.owner)


async def test_a_socket_that_closed_in_every_house_would_be_seen(
    tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream, engine: Engine, superuser_url: str | None
) -> None:
    async with AsyncExitStack() as stack:
        with exchangeable():
            world = await stack.enter_async_context(open_world(tmp_path / "data", clock, upstream))
        if superuser_url is not None:  # which would hold what the statement forgets
            rows = await stack.enter_async_context(open_rows(world, superuser_url))
            await rows.change(("ALTER TABLE open_sockets DISABLE ROW LEVEL SECURITY", ()))
        stack.enter_context(
            exchanged(world.system.store, {"sockets_none": without(engine, "sockets_none", PREDICATE)})
        )
        with pytest.raises(AssertionError, match="the other house's socket"):
            await check_twins(world, synthflow_client.SESSION, world.owner, await world.organisation())
