"""`chatkeep serve` as a process: one server a data folder, and a first key that is never lost."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from tests.flows.command_line import Done, serving, start


@pytest.mark.sqlite
async def test_a_second_server_on_the_same_data_folder_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data, local_model="false"):
        second = await _serve("--port", "0", "--data", str(data))
    assert second.code == 1
    assert f"Another chatkeep serves {data} already." in second.err


async def test_where_the_port_is_taken_nothing_is_made_and_the_first_key_is_told_later(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = await _serve("--port", port, "--data", str(tmp_path / "data"))
    assert done.code == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in done.err
    assert "export CHATKEEP_KEY=ck_" not in done.out
    async with serving(tmp_path / "data", local_model="false") as server:
        assert server.key.startswith("ck_")


async def test_the_answer_to_head_is_framed_as_one_without_a_body(tmp_path: Path) -> None:
    """The next answer on the same connection would be garbled if some body came or less than was announced broke it."""
    async with serving(tmp_path / "data", local_model="false") as server:
        headers = {"authorization": f"Bearer {server.key}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=10) as client:
            for path in ("/chatkeep/v1/me", "/v1/chats", "/health", "/nowhere", "/chatkeep/v1/chats/x"):
                head, get = await client.head(path), await client.get(path)
                assert (head.status_code, head.content) == (get.status_code, b"")
                assert head.headers["content-length"] == get.headers["content-length"] != "0"
                assert "connection" not in head.headers


async def _serve(*arguments: str) -> Done:
    process = await start("serve", *arguments, local_model="false")
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())
