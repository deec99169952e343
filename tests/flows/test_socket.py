"""A chat over a WebSocket, by a client of somebody else's: following, sending, stopping, and who may open one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.flows.command_line import Serving, serving
from tests.upstream import DONE, Raw, Script, ScriptedUpstream, finish_event, text_event

pytestmark = pytest.mark.asyncio(loop_scope="module")
ORIGIN = "https://chat.example.com"
HELD = Raw([text_event("Wait"), None, text_event(" over"), finish_event(), DONE])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Serving]:
    """A real server whose only model is the scripted one."""
    settings = {
        "providers__scripted__base_url": upstream.base_url,
        "local_model": "false",
        "allowed_origins": ORIGIN,
    }
    async with serving(tmp_path_factory.mktemp("socket") / "data", **settings) as running:
        for _ in range(200):  # models are found in the background
            if (await running.native("GET", "/models")).json()["items"]:
                break
            await asyncio.sleep(0.02)
        yield running


async def a_chat(server: Serving) -> str:
    chat: str = (await server.native("POST", "/chats")).json()["id"]
    return chat


def opened(
    server: Serving, chat_id: str, query: str = "", *, key: str | None = "", **options: Any
) -> connect:
    """A connection; `key` None sends no header."""
    headers = {} if key is None else {"authorization": f"Bearer {key or server.key}"}
    url = f"{server.url.replace('http', 'ws')}/chatkeep/v1/chats/{chat_id}/ws{query}"
    return connect(url, additional_headers=headers, **options)


async def test_a_socket_is_told_with_its_handshake_once_it_is_over(server: Serving) -> None:
    async def counted(status: int) -> float:
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{server.url}/metrics")).text
        line = f'chatkeep_requests_total{{door="native",method="WEBSOCKET",status="{status}"}}'
        return sum(float(each.split()[-1]) for each in text.splitlines() if each.startswith(line))

    chat_id = await a_chat(server)
    before = {status: await counted(status) for status in (101, 401)}
    async with opened(server, chat_id) as socket:
        assert socket.response is not None
        assert re.fullmatch(r"[0-9a-f-]{36}", socket.response.headers["x-request-id"])
        assert await counted(101) == before[101], "it is not over"
    with pytest.raises(InvalidStatus) as refused:
        await opened(server, chat_id, key="ck_nobody").__aenter__()
    assert refused.value.response.status_code == 401
    async with asyncio.timeout(15):
        expected = {status: count + 1 for status, count in before.items()}
        while {status: await counted(status) for status in before} != expected:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)


async def frames_until(socket: ClientConnection, *kinds: str) -> list[dict[str, Any]]:
    """What comes up to the first frame of one of these types."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(15):
        while not found or found[-1]["type"] not in kinds:
            found.append(orjson.loads(await socket.recv()))
    return found


async def say(socket: ClientConnection, **frame: Any) -> None:
    await socket.send(orjson.dumps(frame).decode())


async def test_what_is_said_is_answered_and_seen_by_everybody(
    server: Serving, upstream: ScriptedUpstream
) -> None:
    chat_id = await a_chat(server)
    upstream.play(Script(["Hel", "lo"]))
    async with opened(server, chat_id) as one, opened(server, chat_id, "?after=0") as other:
        (snapshot,) = await frames_until(one, "snapshot")
        assert snapshot["messages"] == []
        await say(one, type="send", ref="r1", message="Hi")
        mine = await frames_until(one, "run.completed")
        theirs = await frames_until(other, "run.completed")
        done = (
            next((each for each in mine if each["type"] == "done"), None)
            or (await frames_until(one, "done"))[-1]
        )
        assert done["ref"] == "r1"
        events = [each for each in mine if "seq" in each]
        assert theirs[0]["type"] == "chat.created"
        assert theirs[1:] == events
        assert "".join(each.get("text", "") for each in events) == "Hello"
        assert events[-1]["run_id"] == done["run_id"]


async def test_tools_and_their_results_go_the_same_way(server: Serving, upstream: ScriptedUpstream) -> None:
    chat_id = await a_chat(server)
    tools = [{"type": "function", "function": {"name": "weather"}}]
    upstream.play(Script(["Hm."], sources=["https://example.org"], calls=[("c", "weather", "{}")]))
    upstream.play(Script(["Sunny."]))
    async with opened(server, chat_id) as one:
        await say(one, type="send", message="Weather?", tools=tools, tool_choice="auto")
        *_, source, call, _ = [each for each in await frames_until(one, "run.completed") if "seq" in each]
        assert source["source"] == {"url": "https://example.org", "title": None, "text": None}
        assert call["tool_call"] == {"id": "c", "name": "weather", "arguments": "{}"}
        assert upstream.requests[-1]["tools"] == tools
        await say(one, type="send", tool_results=[{"tool_call_id": "c", "content": "20 degrees"}])
        frames = await frames_until(one, "run.completed")
        assert frames[-1]["message"]["content"] == "Sunny."
        assert [each["role"] for each in upstream.requests[-1]["messages"]] == ["user", "assistant", "tool"]


async def test_stop_by_another_connection(server: Serving, upstream: ScriptedUpstream) -> None:
    chat_id = await a_chat(server)
    upstream.play(HELD)
    async with opened(server, chat_id) as one, opened(server, chat_id) as other:
        await say(one, type="send", message="Hi")
        await frames_until(other, "run.delta")
        await say(other, type="stop", ref=7)
        ended = (await frames_until(one, "run.stopped"))[-1]
        assert (ended["message"]["content"], ended["message"]["status"]) == ("Wait", "incomplete")


async def test_a_client_that_goes_away_stops_nothing(server: Serving, upstream: ScriptedUpstream) -> None:
    chat_id = await a_chat(server)
    upstream.play(HELD)
    async with opened(server, chat_id) as one:
        await say(one, type="send", message="Hi")
        seen = (await frames_until(one, "run.delta"))[-1]["seq"]
    upstream.go_on()
    async with opened(server, chat_id, f"?after={seen}") as again:
        rest = await frames_until(again, "run.completed")
        assert "".join(each.get("text", "") for each in rest) == " over"
        assert rest[-1]["message"]["content"] == "Wait over"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("no json", "malformed_json"),
        ("[]", "malformed_json"),
        ('{"type": "sing"}', "invalid_field"),
        ('{"type": "send", "message": "x", "mesage": "y"}', "invalid_field"),
        ('{"type": "send", "message": "x", "model_id": "nobody"}', "invalid_field"),
        ('{"type": "stop", "run_id": "nobody"}', "not_found"),
    ],
)
async def test_a_bad_frame_is_told_so_and_loses_nothing(server: Serving, frame: str, code: str) -> None:
    async with opened(server, await a_chat(server)) as socket:
        await frames_until(socket, "snapshot")
        await socket.send(frame)
        answer = (await frames_until(socket, "error", "done"))[-1]
        assert answer.get("code") == code


async def test_the_credential_may_come_in_the_first_frame(server: Serving) -> None:
    async with opened(server, await a_chat(server), key=None, origin=ORIGIN) as socket:
        await say(socket, type="auth", token=server.key)
        await frames_until(socket, "snapshot")


@pytest.mark.parametrize(
    "first", ['{"type": "auth", "token": "ck_wrong"}', '{"type": "send"}', "x", b"bytes"]
)
async def test_without_a_good_credential_it_is_closed(server: Serving, first: str | bytes) -> None:
    async with opened(server, await a_chat(server), key=None) as socket:
        await socket.send(first)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://evil.example",
        "http://chat.example.com",
        "https://chat.example.com:8443",
        "https://chat.example.com.evil.example",
        "https://evil-chat.example.com",
        "https://sub.chat.example.com",
        "https://chat.example.com/",
        "HTTPS://CHAT.EXAMPLE.COM",
        "file://",
        "http://localhost:8000",
        "http://127.0.0.1:8000",
    ],
)
async def test_only_listed_origins_may_connect(server: Serving, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(server, await a_chat(server), origin=origin):
            pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("query", "key", "status"),
    [("?token=x", "", 422), ("", "ck_wrong", 401), ("?api_key=x", None, 422)],
)
async def test_what_is_refused_before_it_is_accepted(
    server: Serving, query: str, key: str | None, status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(server, await a_chat(server), query, key=key):
            pass
    assert refused.value.response.status_code == status


async def test_unknown_and_foreign_chats_look_the_same(server: Serving) -> None:
    for chat_id in ("unknown", "01a20000-0000-7000-8000-000000000000"):
        async with opened(server, chat_id) as socket:
            (told,) = await frames_until(socket, "error")
            assert (told["code"], told["detail"]) == ("not_found", "Chat not found.")


async def test_who_says_too_much_is_told_to_wait(server: Serving) -> None:
    async with opened(server, await a_chat(server)) as socket:
        await frames_until(socket, "snapshot")
        for _ in range(40):
            await say(socket, type="stop")
        told = []
        with suppress(ConnectionClosed):
            while True:
                told += await frames_until(socket, "error", "done")
        assert (told[-1]["type"], told[-1]["code"]) == ("error", "rate_limited")
