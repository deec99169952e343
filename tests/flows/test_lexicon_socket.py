"""Lexicon's WebSocket: scenario C, and the semantics of contracts/lexicon.md C4 and C6."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.flows.lexicon_client import CHATS, NO_CHAT, ask, make
from tests.flows.lexicon_socket import Sockets, sockets_of
from tests.upstream import DONE, Raw, Script, finish_event, text_event
from tests.world import World

UNKNOWN = "01a20000-0000-7000-8000-000000000000"
HELD = Raw([text_event("I'd"), None, text_event(" be"), text_event(" glad"), finish_event(), DONE])


@pytest.fixture
async def sockets(world: World) -> AsyncIterator[Sockets]:
    async with sockets_of(world) as running:
        yield running


def kinds(frames: list[dict[str, Any]]) -> list[str]:
    return [each["event_type"].removeprefix("message_") for each in frames]


def text(frames: list[dict[str, Any]]) -> str:
    return "".join(each["token"] for each in frames if each["event_type"] == "message_stream_token")


async def test_one_turn(world: World, sockets: Sockets) -> None:
    chat = await make(world)
    world.upstream.play(Script(["I'd", " be", " glad"]))
    async with sockets.visit(chat["id"]) as visitor:
        await visitor.say("Hello?", metadata={"user_agent": "test"})
        frames = await visitor.until("message_stream_ended")
        established, received, started, *tokens, ended = frames
        about = {"user_id": "user123", "chat_id": chat["id"]}
        assert established == {
            "event_type": "connection_established",
            "timestamp": established["timestamp"],
            "tenant_id": chat["tenant_id"],
            **about,
        }
        assert kinds(frames)[1:3] == ["received", "stream_started"]
        assert received | about | {"content": "Hello?"} == received
        assert started | about == started
        assert kinds(tokens) == ["stream_token"] * len(tokens)
        assert text(tokens) == ended["content"] == "I'd be glad"
        assert ended | about == ended
        assert all(each["timestamp"].endswith("Z") for each in frames)
        assert [each["seq"] for each in frames[1:]] == sorted(each["seq"] for each in frames[1:])
    read = (await ask(world, "GET", f"{CHATS}/{chat['id']}")).json()
    assert (read["message_count"], read["status"]) == (2, "active")
    assert read["last_message_at"] >= received["timestamp"]
    page = (await ask(world, "GET", f"{CHATS}/{chat['id']}/messages")).json()
    question, answer = page["messages"]
    assert (question["id"], question["metadata"]) == (received["message_id"], {"user_agent": "test"})
    assert (answer["id"], answer["content"]) == (ended["message_id"], ended["content"])


async def test_credentials_in_headers_and_under_the_prefix(world: World, sockets: Sockets) -> None:
    chat = await make(world)
    for prefix in ("", "/lexicon"):
        for by_header in (False, True):
            async with sockets.visit(chat["id"], prefix=prefix, by_header=by_header) as visitor:
                assert (await visitor.next())["event_type"] == "connection_established"
    for by_header in (False, True):
        async with sockets.visit(chat["id"], "Zoë", by_header=by_header) as visitor:
            assert (await visitor.next())["user_id"] == "Zoë"


async def test_errors_are_frames_and_then_a_close(world: World, sockets: Sockets) -> None:
    chat, stranger = await make(world), await world.organisation()
    gone = await make(world)
    await ask(world, "DELETE", f"{CHATS}/{gone['id']}")
    for key in ("ck_nobody", ""):
        frame, code = await sockets.refusal(chat["id"], key=key)
        assert (frame["error_code"], frame["error_message"], code) == ("AUTH_ERROR", "Invalid API key", 4401)
        assert "API key" in frame["details"]["fix"]
    for user_id in ("", " "):
        frame, code = await sockets.refusal(chat["id"], user_id)
        assert (frame["error_code"], frame["error_message"]) == ("AUTH_ERROR", "Missing user_id parameter")
        assert code == 4401
    whose = [(UNKNOWN, None), ("not-a-uuid", None), ("", None), (gone["id"], None), (chat["id"], stranger)]
    for chat_id, caller in whose:
        frame, code = await sockets.refusal(chat_id, "user123", caller)
        sentence = f"Chat with chat_id '{chat_id}' not found or does not belong to your tenant"
        assert (frame["error_code"], frame["error_message"], code) == ("CHAT_NOT_FOUND", sentence, 4404)
    frame, code = await sockets.refusal(chat["id"], after="x")
    assert (frame["error_code"], code) == ("INVALID_MESSAGE", 4400)


async def test_a_user_that_is_new_is_made(world: World, sockets: Sockets) -> None:
    chat = await make(world)
    async with sockets.visit(chat["id"], "Zoë / 5b") as visitor:
        first, second = await visitor.next(), await visitor.next()
        assert (first["event_type"], second["event_type"]) == ("connection_established", "user_created")
        assert first["user_id"] == second["user_id"] == "Zoë / 5b"
        await visitor.say("Hi")
        received = (await visitor.until("message_received"))[-1]
        assert received["user_id"] == "Zoë / 5b"
        await visitor.until("message_stream_ended")
    async with sockets.visit(chat["id"], "Zoë / 5b") as visitor:
        await visitor.next()
        await visitor.say("Again")
        assert (await visitor.next())["event_type"] == "message_received"
        await visitor.until("message_stream_ended")


async def test_two_quick_messages_are_answered_in_order(world: World, sockets: Sockets) -> None:
    chat = await make(world)
    async with sockets.visit(chat["id"]) as visitor:
        await visitor.say("one")
        await visitor.say("two")
        first = await visitor.until("message_stream_ended")
        second = await visitor.until("message_stream_ended")
    for frames, said in ((first[1:], "one"), (second, "two")):
        assert kinds(frames)[:2] == ["received", "stream_started"]
        assert set(kinds(frames)[2:-1]) == {"stream_token"}
        assert frames[0]["content"] == said
        assert text(frames) == frames[-1]["content"] == f"You said: {said}"


async def test_all_sockets_of_a_chat_see_the_same_answer(world: World, sockets: Sockets) -> None:
    chat = await make(world)
    world.upstream.play(HELD)
    async with sockets.visit(chat["id"]) as one, sockets.visit(chat["id"], "other") as two:
        await two.until("user_created")
        await one.say("Hello?")
        before = await one.until("message_stream_token")
        async with sockets.visit(chat["id"], "late") as late:
            await late.until("message_stream_token")
            world.upstream.go_on()
            mine = [*before[1:], *await one.until("message_stream_ended")]
            theirs = await two.until("message_stream_ended")
            assert theirs == mine
            assert {each["user_id"] for each in mine if "user_id" in each} == {"user123"}
            await late.until("message_stream_ended")
            assert kinds(late.seen)[:3] == ["connection_established", "user_created", "stream_started"]
            assert text(late.seen) == late.seen[-1]["content"] == "I'd be glad"
            assert late.seen[2]["user_id"] == "user123"


async def test_a_dropped_socket_loses_nothing(world: World, sockets: Sockets) -> None:
    chat = await make(world)
    world.upstream.play(HELD)
    async with sockets.visit(chat["id"]) as visitor:
        await visitor.say("Hello?")
        await visitor.say("And this?")
        last = (await visitor.until("message_stream_token"))[-1]
    world.upstream.go_on()
    async with sockets.visit(chat["id"], after=last["seq"]) as visitor:
        frames = (await visitor.until("message_stream_ended"))[1:]
        assert last["token"] + text(frames) == frames[-1]["content"] == "I'd be glad"
        frames = await visitor.until("message_stream_ended")
        assert frames[0]["content"] == "And this?"
        assert frames[-1]["content"] == "You said: And this?"
    page = (await ask(world, "GET", f"{CHATS}/{chat['id']}/messages")).json()
    assert page["total"] == 4


async def test_what_other_dialects_write_is_shown(world: World, sockets: Sockets) -> None:
    chat = await make(world)
    async with sockets.visit(chat["id"]) as visitor:
        await visitor.next()
        said = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
        await world.native("POST", f"/chats/{chat['id']}/messages", messages=said)
        frames = await visitor.until("message_stream_ended")
        assert kinds(frames) == ["received", "stream_started", "stream_token", "stream_ended"]
        assert frames[0]["user_id"] == world.owner.principal_id
        await world.native("POST", f"/chats/{chat['id']}/generate", message="More")
        frames = await visitor.until("message_stream_ended")
        assert text(frames) == frames[-1]["content"] == "You said: More"
        await world.native("POST", f"/chats/{chat['id']}/continue")
        frames = await visitor.until("message_stream_ended")
        assert text(frames) == frames[-1]["content"]
        assert text(frames).startswith("You said: More")


async def test_what_cannot_be_read_is_refused_and_the_connection_stays(
    world: World, sockets: Sockets
) -> None:
    chat = await make(world)
    async with sockets.visit(chat["id"]) as visitor:
        await visitor.next()
        wrong: list[str | bytes] = [
            "{",
            "[]",
            "{}",
            '{"content": ""}',
            '{"content": 1}',
            '{"content": "x", "metadata": []}',
            b"x",
        ]
        for frame in wrong:
            await visitor.connection.send(frame)
            error = await visitor.next()
            assert (error["event_type"], error["error_code"]) == ("error", "INVALID_MESSAGE"), frame
            assert error["error_message"]
            assert error["details"]["fix"]
            await asyncio.sleep(0.1)
        await visitor.say("Hi")
        assert (await visitor.until("message_stream_ended"))[-1]["content"] == "You said: Hi"


async def test_a_failed_answer_is_an_error_and_then_its_end(world: World, sockets: Sockets) -> None:
    chat = await make(world)
    world.upstream.play(Script(["Half", " of it"], failure="error_chunk"))
    async with sockets.visit(chat["id"]) as visitor:
        await visitor.say("Hi")
        frames = await visitor.until("message_stream_ended", despite_errors=True)
        assert kinds(frames)[-2:] == ["error", "stream_ended"]
        assert frames[-2]["error_code"] == "GENERATION_FAILED"
        assert text(frames) == frames[-1]["content"] == "Half of it"


async def test_a_closed_chat_takes_no_messages(world: World, sockets: Sockets) -> None:
    chat = await make(world)
    await world.native("PATCH", f"/chats/{chat['id']}", session_state="completed")
    assert (await ask(world, "GET", f"{CHATS}/{chat['id']}")).json()["status"] == "closed"
    async with sockets.visit(chat["id"]) as visitor:
        await visitor.next()
        await visitor.say("Hi")
        assert (await visitor.next())["error_code"] == "CHAT_CLOSED"


async def test_a_chat_with_open_sockets_is_not_deleted(world: World, sockets: Sockets) -> None:
    chat = await make(world)
    async with sockets.visit(chat["id"]) as visitor:
        await visitor.next()
        refused = await ask(world, "DELETE", f"{CHATS}/{chat['id']}")
        assert refused.status_code == refused.json()["error"] == 409
        assert "WebSocket" in refused.json()["message"]
        assert (await ask(world, "GET", f"{CHATS}/{chat['id']}")).status_code == 200
    async with asyncio.timeout(5):
        while (deleted := await ask(world, "DELETE", f"{CHATS}/{chat['id']}")).status_code == 409:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    assert deleted.json()["success"] is True
    assert (await ask(world, "GET", f"{CHATS}/{chat['id']}")).json() == NO_CHAT


async def test_a_chat_that_is_deleted_elsewhere_ends_its_sockets(world: World, sockets: Sockets) -> None:
    chat = await make(world)
    async with sockets.visit(chat["id"]) as visitor:
        await visitor.next()
        await world.native("DELETE", f"/chats/{chat['id']}")
        assert await visitor.closed() == 4404
        assert visitor.seen[-1]["error_code"] == "CHAT_NOT_FOUND"


async def test_a_key_that_is_revoked_ends_its_sockets(world: World, sockets: Sockets) -> None:
    chat, helper = await make(world), await world.person("admin")
    async with sockets.visit(chat["id"], "user123", helper) as visitor:
        await visitor.next()
        await world.revoke(helper)
        assert await visitor.closed() == 4401
        assert visitor.seen[-1]["error_code"] == "AUTH_ERROR"


async def test_the_eleventh_message_of_a_second_is_refused(world: World, sockets: Sockets) -> None:
    chat = await make(world)
    async with sockets.visit(chat["id"]) as visitor:
        await visitor.next()
        for _ in range(14):
            await visitor.connection.send("{}")
        codes = [(await visitor.next())["error_code"] for _ in range(14)]
        assert codes[:10] == ["INVALID_MESSAGE"] * 10
        assert "RATE_LIMITED" in codes[10:]
        await asyncio.sleep(0.5)
        await visitor.say("Hi")
        await visitor.until("message_stream_ended")


async def test_a_page_of_a_hostile_origin_is_refused(world: World, sockets: Sockets) -> None:
    chat = await make(world)
    for origin in ("https://evil.example", "null"):
        headers = {"origin": origin, "cookie": f"token={world.owner.key}"}
        with pytest.raises(InvalidStatus) as refused:
            async with sockets.visit(chat["id"], headers=headers):
                pass
        assert refused.value.response.status_code == 403
        assert b'"error":403' in (refused.value.response.body or b"")
    frame, code = await sockets.refusal(chat["id"], key="", headers={"cookie": f"token={world.owner.key}"})
    assert (frame["error_code"], code) == ("AUTH_ERROR", 4401)
