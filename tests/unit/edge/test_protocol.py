"""Deadlines and limits of a connection, on real sockets, with short deadlines."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from time import monotonic

import pytest
from starlette.types import Receive, Scope, Send

from chatkeep.edge.protocol import PIPELINED_REQUESTS_MAX, GuardedHttpProtocol
from chatkeep.web.sse import WRITE_NOW
from tests.unit.edge.application import App
from tests.unit.edge.serving import QUICK, Running, running, with_lifespan

pytestmark = pytest.mark.asyncio(loop_scope="module")

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SLACK_S = 0.5  # beyond the deadline: one sweep, and a busy machine


async def exchange(server: Running, sent: bytes) -> bytes:
    """Everything the server says to `sent` until it closes."""
    reader, writer = await server.connect()
    writer.write(sent)
    received = await reader.read()
    writer.close()
    return received


class TestDeadlines:
    async def test_silent_connection_is_closed_without_a_word(self, server: Running) -> None:
        begun_s = monotonic()
        assert await exchange(server, b"") == b""
        took_s = monotonic() - begun_s
        assert QUICK.header_deadline_s <= took_s < QUICK.header_deadline_s + SLACK_S

    async def test_half_a_header_gets_408(self, server: Running, app: App) -> None:
        begun_s = monotonic()
        received = await exchange(server, b"GET / HTTP/1.1\r\nHost: a\r\nX-Sl")
        assert received.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in received
        assert monotonic() - begun_s < QUICK.header_deadline_s + SLACK_S
        assert not app.scopes

    async def test_dripping_header_does_not_move_the_deadline(self, server: Running) -> None:
        reader, writer = await server.connect()
        begun_s = monotonic()

        async def drip() -> None:
            writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
            while True:
                writer.write(b"a")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        received = await reader.readuntil(b"\r\n\r\n")
        dripping.cancel()
        writer.close()
        assert received.startswith(b"HTTP/1.1 408 ")
        assert monotonic() - begun_s < QUICK.header_deadline_s + SLACK_S

    async def test_idle_kept_alive_connection_is_closed(self, server: Running) -> None:
        begun_s = monotonic()
        received = await exchange(server, GET)
        took_s = monotonic() - begun_s
        assert received.endswith(b"hello")
        assert QUICK.keep_alive_idle_s <= took_s < QUICK.keep_alive_idle_s + SLACK_S

    async def test_kept_alive_connection_serves_on_before_its_idle_time(self, server: Running) -> None:
        reader, writer = await server.connect()
        for _ in range(3):
            writer.write(GET)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(QUICK.keep_alive_idle_s / 2)
        writer.close()

    async def test_half_a_second_header_gets_408(self, server: Running) -> None:
        received = await exchange(server, GET + b"GET / HTTP/1.1\r\nX-")
        assert received.count(b"HTTP/1.1 ") == 2
        assert b"HTTP/1.1 408 " in received

    async def test_header_after_idle_time_has_its_own_deadline(self, server: Running) -> None:
        reader, writer = await server.connect()
        writer.write(GET)
        await reader.readuntil(b"hello")
        await asyncio.sleep(QUICK.keep_alive_idle_s * 0.8)
        begun_s = monotonic()
        writer.write(b"GET / HTTP/1.1\r\nX-")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 408 ")
        assert QUICK.header_deadline_s <= monotonic() - begun_s < QUICK.header_deadline_s + SLACK_S
        writer.close()

    async def test_unread_body_after_the_answer_does_not_hold_the_connection(self, server: Running) -> None:
        reader, writer = await server.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        begun_s = monotonic()

        async def drip() -> None:
            while True:
                writer.write(b"a")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        with contextlib.suppress(ConnectionResetError):  # the server closes with our drops unread
            await reader.read()
        dripping.cancel()
        assert monotonic() - begun_s < QUICK.keep_alive_idle_s + SLACK_S
        writer.transport.abort()

    async def test_a_request_under_way_has_no_deadline_here(self, server: Running) -> None:
        reader, writer = await server.connect()
        writer.write(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"begun")
        await asyncio.sleep(QUICK.keep_alive_idle_s + QUICK.header_deadline_s)
        assert not reader.at_eof()
        writer.close()


class TestHeaderLimits:
    async def test_header_block_at_and_over_the_limit(self, server: Running) -> None:
        head = b"GET / HTTP/1.1\r\nConnection: close\r\nX-Pad: "
        fits = head + b"a" * (QUICK.header_bytes_max - len(head) - 4) + b"\r\n\r\n"
        assert (await exchange(server, fits)).startswith(b"HTTP/1.1 200 ")
        over = head + b"a" * QUICK.header_bytes_max + b"\r\n\r\n"
        assert (await exchange(server, over)).startswith(b"HTTP/1.1 431 ")

    @pytest.mark.parametrize("size", [100_000, 1_000_000])
    async def test_endless_header_is_refused_and_the_refusal_arrives(
        self, server: Running, size: int
    ) -> None:
        received = await exchange(server, b"GET / HTTP/1.1\r\nX-Pad: " + b"a" * size)
        assert received.startswith(b"HTTP/1.1 431 ")

    async def test_long_url_counts_as_header(self, server: Running, app: App) -> None:
        received = await exchange(server, b"GET /" + b"a" * 3_000 + b" HTTP/1.1\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 431 ")
        assert not app.scopes

    @pytest.mark.parametrize(
        ("count", "status"), [(QUICK.header_count_max, b"200"), (21, b"431"), (150, b"431")]
    )
    async def test_number_of_headers(self, server: Running, count: int, status: bytes) -> None:
        headers = b"".join(b"h%d: 1\r\n" % number for number in range(count - 1))
        received = await exchange(server, b"GET / HTTP/1.1\r\nConnection: close\r\n" + headers + b"\r\n")
        assert received.startswith(b"HTTP/1.1 %b " % status)

    async def test_number_of_headers_is_noticed_before_they_end(self, server: Running) -> None:
        begun_s = monotonic()
        reader, writer = await server.connect()
        writer.write(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 30)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 431 ")
        assert monotonic() - begun_s < QUICK.header_deadline_s / 2
        (connection,) = server.server.server_state.connections
        assert isinstance(connection, GuardedHttpProtocol)
        assert connection.headers == []  # not kept while the connection lingers
        writer.close()

    async def test_body_in_the_read_that_ends_the_header_is_not_counted(self, server: Running) -> None:
        reader, writer = await server.connect()
        writer.write(b"POST /read HTTP/1.1\r\nContent-Length: 1500\r\nX-Pad: " + b"a" * 1_500)
        await asyncio.sleep(0.02)
        writer.write(b"\r\n\r\n" + b"b" * 1_500)
        assert await reader.readuntil(b"read 1500")
        writer.close()

    async def test_large_body_in_the_same_read_is_not_counted(self, server: Running) -> None:
        head = b"POST /read HTTP/1.1\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n"
        assert (await exchange(server, head + b"a" * 100_000)).endswith(b"read 100000")

    async def test_trailers_are_bounded_and_do_not_become_headers(self, server: Running, app: App) -> None:
        head = (
            b"POST /read HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
        )
        assert (await exchange(server, head + b"Authorization: stolen\r\n\r\n")).endswith(b"read 3")
        assert [name for name, _ in app.scopes[0]["headers"]] == [b"connection", b"transfer-encoding"]
        assert (await exchange(server, head + b"X-Pad: " + b"a" * 5_000)).startswith(b"HTTP/1.1 431 ")

    async def test_chunk_extensions_are_bounded(self, server: Running) -> None:
        head = b"POST /read HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;"
        assert (await exchange(server, head + b"a" * 5_000)).startswith(b"HTTP/1.1 431 ")


class TestFraming:
    @pytest.mark.parametrize(
        "headers",
        [
            b"Content-Length: 5\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5",
            b"Content-Length: 5\r\nContent-Length: 6",
            b"Content-Length: 5\r\nContent-Length: 5",
            b"Content-Length: 5, 6",
            b"Content-Length: +5",
            b"Content-Length: 0x5",
            b"Content-Length : 5",
            b"Transfer-Encoding: chunked, identity",
            b"Transfer-Encoding: xchunked",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            b"Host: a\r\n X-Folded: b",
            b"Host: a\nX-Bare: b",
            b"Host: a\rX-Bare: b",
        ],
    )
    async def test_ambiguous_framing_is_refused_and_nothing_behind_it_is_run(
        self, server: Running, app: App, headers: bytes
    ) -> None:
        smuggled = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        received = await exchange(server, b"POST /read HTTP/1.1\r\n" + headers + b"\r\n\r\n" + smuggled)
        assert received.startswith(b"HTTP/1.1 400 ")
        assert received.count(b"HTTP/1.1 ") == 1
        assert "/smuggled" not in [scope["path"] for scope in app.scopes]

    async def test_request_whose_framing_broke_after_it_had_begun_is_answered_once_and_quietly(
        self, server: Running, caplog: pytest.LogCaptureFixture
    ) -> None:
        received = await exchange(server, b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 400 ")
        assert received.count(b"HTTP/1.1 ") == 1
        assert "Exception in ASGI application" not in caplog.text

    async def test_garbage_behind_a_running_answer_only_closes(self, server: Running, app: App) -> None:
        reader, writer = await server.connect()
        writer.write(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"begun")
        writer.write(b"\x00garbage\r\n\r\n")
        assert b"HTTP/1.1" not in await reader.read()
        writer.close()
        await server.empty()
        assert app.disconnects == 1


class TestPipelining:
    async def test_pipelined_requests_are_answered_in_order(self, server: Running) -> None:
        last = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
        received = await exchange(server, GET * (PIPELINED_REQUESTS_MAX - 1) + last)
        assert received.count(b"HTTP/1.1 200 ") == PIPELINED_REQUESTS_MAX

    async def test_too_many_waiting_requests_end_the_connection(self, server: Running, app: App) -> None:
        await exchange(
            server, b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n" + GET * (PIPELINED_REQUESTS_MAX + 1)
        )
        await server.empty()
        assert app.disconnects == 1

    async def test_disconnect_reaches_the_running_request_behind_which_others_wait(
        self, server: Running, app: App
    ) -> None:
        reader, writer = await server.connect()
        writer.write(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
        await reader.readuntil(b"begun")
        writer.close()
        await server.empty()
        assert app.disconnects == 1
        assert len(app.scopes) == 1


class TestWritingNow:
    """The way past the layers for streams: in its place between what goes the ordinary way, or not at all."""

    async def test_pieces_arrive_in_their_order_and_never_outside_a_body_under_way(self) -> None:
        took = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            write = scope["extensions"][WRITE_NOW]
            took.append(write(b"too early"))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"one ", "more_body": True})
            took.append(write(b"two "))
            await send({"type": "http.response.body", "body": b"three ", "more_body": True})
            took.append(write(b"four"))
            await send({"type": "http.response.body", "body": b""})
            took.append(write(b"too late"))

        async with running(with_lifespan(app), QUICK) as server:
            received = await exchange(server, GET.replace(b"Host: a", b"Host: a\r\nConnection: close"))
            old = await exchange(server, b"GET / HTTP/1.0\r\n\r\n")
        assert took[:4] == [False, True, True, False]
        chunks = b"4\r\none \r\n4\r\ntwo \r\n6\r\nthree \r\n4\r\nfour\r\n0\r\n\r\n"
        assert received.partition(b"\r\n\r\n")[2] == chunks
        assert b"too" not in old

    async def test_a_client_that_does_not_read_gets_nothing_more_and_one_that_is_gone_neither(self) -> None:
        written, seen = 0, asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal written
            write = scope["extensions"][WRITE_NOW]
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
            while write(b"x" * 10_000):
                written += 1
                await asyncio.sleep(0)
            while (await receive())["type"] != "http.disconnect":
                pass
            assert not write(b"gone")
            seen.set()

        async with running(with_lifespan(app), replace(QUICK, write_stall_s=0.3)) as server:
            reader, writer = await server.connect()
            writer.write(GET)
            await reader.readuntil(b"begun")
            await asyncio.wait_for(seen.wait(), 10)  # cut off as one that takes nothing
            writer.close()
        assert 0 < written < 10_000


async def test_default_limits_serve_large_headers_and_bodies(app: App) -> None:
    limits = replace(QUICK, header_bytes_max=32 * 1024)
    async with running(with_lifespan(app), limits) as server:
        head = (
            b"POST /read HTTP/1.1\r\nConnection: close\r\nContent-Length: 3000000\r\nX-Pad: " + b"a" * 30_000
        )
        assert (await exchange(server, head + b"\r\n\r\n" + b"b" * 3_000_000)).endswith(b"read 3000000")
