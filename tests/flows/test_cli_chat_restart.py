"""`chatkeep chat` while its server stops, dies and comes back: nothing is lost, asked twice or printed twice."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.flows.command_line import PATIENCE_S, Serving, start
from tests.flows.terminal import CTRL_C, CTRL_D, Terminal
from tests.upstream import DONE, Raw, ScriptedUpstream, finish_event, text_event


class House:
    """A server that can be ended and started again, always at the same address."""

    def __init__(self, data: Path, model: ScriptedUpstream) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.data = data
        self.settings = {
            "providers__scripted__base_url": model.base_url,
            "local_model": "false",
            "drain_s": "3",
            "log_requests": "false",
        }
        self.key = ""
        self._process: Process | None = None
        self._rest: asyncio.Future[tuple[bytes, bytes]] | None = None

    @property
    def serving(self) -> Serving:
        return Serving(f"http://127.0.0.1:{self.port}", self.key, self.data)

    async def begin(self) -> None:
        """Start it, unless it runs."""
        if self._process is not None:
            return
        arguments = ("serve", "--port", str(self.port), "--data", str(self.data))
        self._process = await start(*arguments, **self.settings)
        assert self._process.stdout is not None
        await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S)
        while not self.key:
            line = (await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S)).decode()
            if found := re.search(r"CHATKEEP_KEY=(\S+)", line):
                self.key = found[1]
        self._rest = asyncio.ensure_future(self._process.communicate())
        for _ in range(500):  # models are found in the background
            if (await self.serving.native("GET", "/models")).json()["items"]:
                break
            await asyncio.sleep(0.02)

    async def end(self, how: signal.Signals) -> None:
        """End it and wait until it is gone."""
        if self._process is not None and self._rest is not None:
            self._process.send_signal(how)
            await asyncio.wait_for(self._rest, PATIENCE_S)
            assert how == signal.SIGKILL or self._process.returncode == 0
            self._process = None

    async def client(self, *arguments: str) -> Process:
        """`chatkeep chat` with its owner's key."""
        return await start("chat", *arguments, "--url", self.serving.url, key=self.key)

    def terminal(self, *arguments: str) -> Terminal:
        """The same at a terminal."""
        return Terminal("chat", *arguments, "--url", self.serving.url, key=self.key)


# Starting a server takes long, so one house serves them all; the group keeps them in one worker.
pytestmark = [
    pytest.mark.sqlite,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("command line chat restart"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_house(
    model: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    made = House(tmp_path_factory.mktemp("restart") / "data", model)
    yield made
    await made.end(signal.SIGKILL)


@pytest_asyncio.fixture(loop_scope="module")
async def house(one_house: House) -> House:
    await one_house.begin()
    return one_house


async def read(process: Process, text: str) -> None:
    assert process.stdout is not None
    said = await asyncio.wait_for(process.stdout.readexactly(len(text.encode())), PATIENCE_S)
    assert said.decode() == text


async def until_away(process: Process) -> str:
    assert process.stderr is not None
    return (await asyncio.wait_for(process.stderr.readline(), PATIENCE_S)).decode()


async def test_an_answer_goes_on_after_a_restart(house: House, model: ScriptedUpstream) -> None:
    model.play(Raw([text_event("Once "), None]))
    model.play(Raw([text_event("upon a "), text_event("time."), finish_event(), DONE]))
    client = await house.client("Tell me a story.")
    await read(client, "Once ")
    await house.end(signal.SIGTERM)
    told = await until_away(client)
    assert told.startswith("The server is away (")
    assert told.endswith("reconnecting …\n")
    await house.begin()
    out, err = await asyncio.wait_for(client.communicate(), PATIENCE_S)
    assert (client.returncode, out) == (0, b"upon a time.\n")
    assert err.count(b"\n") == 1, err  # the hint alone
    assert [turn["content"] for turn in model.requests[-1]["messages"][-2:]] == ["Tell me a story.", "Once "]


async def test_an_answer_that_died_with_its_server_is_interrupted(
    house: House, model: ScriptedUpstream
) -> None:
    model.play(Raw([text_event("Once "), None]))
    client = await house.client("Tell me a story.")
    await read(client, "Once ")
    await house.end(signal.SIGKILL)
    await until_away(client)
    await house.begin()
    out, err = await asyncio.wait_for(client.communicate(), PATIENCE_S)
    assert (client.returncode, out) == (1, b"\n")
    assert err.decode().splitlines()[0] == (
        "chatkeep: The answer was interrupted: the server stopped before it was complete."
    )


async def test_ctrl_c_while_the_server_is_away_stops_the_answer_once_it_is_back(
    house: House, model: ScriptedUpstream
) -> None:
    model.play(Raw([text_event("Once "), None]), Raw([None]))
    client = await house.client("Tell me a story.")
    await read(client, "Once ")
    await house.end(signal.SIGTERM)
    await until_away(client)
    client.send_signal(signal.SIGINT)
    await house.begin()
    out, err = await asyncio.wait_for(client.communicate(), PATIENCE_S)
    assert (client.returncode, out) == (130, b"\n")
    assert b"The answer was stopped." in err


async def test_a_second_ctrl_c_leaves(house: House, model: ScriptedUpstream) -> None:
    model.play(Raw([text_event("Once "), None]))
    client = await house.client("Tell me a story.")
    await read(client, "Once ")
    await house.end(signal.SIGKILL)
    await until_away(client)
    client.send_signal(signal.SIGINT)
    await asyncio.sleep(0.1)  # two that are not yet looked at are one
    client.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(client.communicate(), PATIENCE_S)
    assert (client.returncode, out) == (130, b"\n")
    assert b"--chat" in err


async def test_a_conversation_at_the_terminal(house: House, model: ScriptedUpstream) -> None:
    """A prompt, an answer that is stopped, a restart between two questions, the answer under way at the next start."""
    terminal = house.terminal()
    await terminal.see("Ctrl-D ends.")
    await terminal.see("> ")
    terminal.type("one\n")
    await terminal.see("You said: one")
    await terminal.see("> ")
    model.play(Raw([text_event("Half"), None]))
    terminal.type("two\n")
    await terminal.see("Half")
    terminal.type(CTRL_C)
    await terminal.see("The answer was stopped.")
    await terminal.see("> ")
    await house.end(signal.SIGTERM)
    terminal.type("three\n")
    await terminal.see("reconnecting")
    await house.begin()
    await terminal.see("You said: three")
    await terminal.see("> ")
    assert await terminal.leave(CTRL_D) == 0
    assert [turn["content"] for turn in model.requests[-1]["messages"] if turn["role"] == "user"] == [
        "one",
        "two",
        "three",
    ]


async def test_a_terminal_that_comes_back_sees_the_answer_under_way(
    house: House, model: ScriptedUpstream
) -> None:
    model.play(Raw([text_event("Be"), None, text_event("gun"), finish_event(), DONE]))
    client = await house.client("hello")
    await read(client, "Be")
    client.kill()
    await client.communicate()
    terminal = house.terminal("--continue", "--history")
    await terminal.see("> hello")
    await terminal.see("Be")
    model.go_on()
    await terminal.see("gun")
    await terminal.see("> ")
    assert await terminal.leave(CTRL_C) == 130
