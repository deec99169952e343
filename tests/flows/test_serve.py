"""`chatkeep serve` as a process: one server a data folder, and a first key that is never lost."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.flows.command_line import Done, serving, start


async def test_a_second_server_on_the_same_data_folder_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data, local_model="false"):
        second = await _serve("--port", "0", "--data", str(data))
    assert second.code == 1
    assert f"Another chatkeep serves {data} already." in second.err


async def test_the_first_key_is_told_even_when_the_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = await _serve("--port", port, "--data", str(tmp_path / "data"))
    assert done.code == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in done.err
    assert "export CHATKEEP_KEY=ck_" in done.out


async def _serve(*arguments: str) -> Done:
    process = await start("serve", *arguments, local_model="false")
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())
