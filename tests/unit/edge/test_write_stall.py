"""Clients that do not take what is sent to them, on real sockets, with a short deadline."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from chatkeep.edge.protocol import WriteStall
from tests.unit.edge.application import LARGE, App
from tests.unit.edge.serving import QUICK, Running, small_window

pytestmark = pytest.mark.asyncio(loop_scope="module")

WEBSOCKET_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
SLACK_S = 0.5  # beyond the deadline: one sweep, and a busy machine


async def test_large_answer_never_read_is_cut_off(server: Running) -> None:
    client = small_window(server.port)
    begun_s = monotonic()
    await asyncio.get_running_loop().sock_sendall(client, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    await asyncio.sleep(0.05)
    assert server.open_connections() == 1
    await server.empty()
    assert monotonic() - begun_s < QUICK.keep_alive_idle_s + QUICK.write_stall_s + SLACK_S
    client.close()


async def test_last_answer_never_read_is_cut_off(server: Running) -> None:
    client = small_window(server.port)
    await asyncio.get_running_loop().sock_sendall(client, b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n")
    await asyncio.sleep(0.05)
    assert server.open_connections() == 1
    await server.empty()
    client.close()


async def test_slow_but_steady_reader_gets_everything(server: Running) -> None:
    client = small_window(server.port)
    loop = asyncio.get_running_loop()
    begun_s = monotonic()
    await loop.sock_sendall(client, b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n")
    received = 0
    while chunk := await loop.sock_recv(client, 60_000):
        received += len(chunk)
        await asyncio.sleep(0.008)
    assert received > LARGE
    assert monotonic() - begun_s > QUICK.write_stall_s, "too quick to show anything"
    client.close()


async def test_two_waits_are_not_one_long_wait(server: Running) -> None:
    client = small_window(server.port)
    loop = asyncio.get_running_loop()
    server.server._sweeper.stop()  # its turn is taken here, at times of our choice
    for time_s, path in ((100.0, b"/large"), (200.0, b"/larger")):
        await loop.sock_sendall(client, b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
        (connection,) = await server.stuck()
        connection.sweep(time_s)
        received = 0
        while received < LARGE:
            chunk = await loop.sock_recv(client, LARGE)
            assert chunk
            received += len(chunk)
    server.server._sweeper.start()
    client.close()


async def test_websocket_never_read_is_cut_off(server: Running, app: App) -> None:
    client = small_window(server.port)
    await asyncio.get_running_loop().sock_sendall(client, WEBSOCKET_HANDSHAKE)
    begun_s = monotonic()
    await asyncio.sleep(0.05)
    assert server.open_connections() == 1
    await server.empty()
    assert monotonic() - begun_s > QUICK.write_stall_s
    assert app.disconnects == 1
    client.close()


async def test_pings_whose_pongs_are_not_taken_do_not_fill_the_memory(server: Running) -> None:
    client = small_window(server.port)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, WEBSOCKET_HANDSHAKE.replace(b"GET /", b"GET /quiet"))
    assert (await loop.sock_recv(client, 2_000)).startswith(b"HTTP/1.1 101 ")
    ping = b"\x89\xfd" + bytes(4) + b"p" * 125  # masked with zeros
    sending = loop.sock_sendall(client, ping * 100_000)
    with pytest.raises(TimeoutError):  # the server stops reading
        await asyncio.wait_for(sending, QUICK.write_stall_s / 2)
    assert server.unsent_bytes() < 1_000_000
    await server.empty()
    client.close()


async def test_stall_counts_from_the_last_byte_taken() -> None:
    stall = WriteStall(10.0)
    assert not stall.is_over(0.0, 500)
    assert not stall.is_over(9.0, 499)
    assert not stall.is_over(18.9, 499)
    assert stall.is_over(19.0, 499)


async def test_growth_proves_nothing_and_emptying_starts_anew() -> None:
    stall = WriteStall(10.0)
    assert not stall.is_over(0.0, 500)
    assert stall.is_over(10.0, 501)
    stall.reset()
    assert not stall.is_over(10.0, 501)
