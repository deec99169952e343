"""`chatkeep chat` against a running server: streamed to standard output, kept as a chat, one line for every trouble."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from chatkeep import wiring
from chatkeep.config import Settings
from chatkeep.models.local import weights_path
from tests.flows.command_line import PATIENCE_S, PROGRAM, Serving, environment, run, serving, start
from tests.upstream import DONE, Raw, Script, ScriptedUpstream, finish_event, text_event

# One server for all of them; the group keeps them in one worker.
pytestmark = [
    pytest.mark.sqlite,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("command line chat"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(model: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serving]:
    data = tmp_path_factory.mktemp("chat") / "data"
    async with serving(data, providers__scripted__base_url=model.base_url, local_model="false") as running:
        for _ in range(200):  # models are found in the background
            if (await running.native("GET", "/models")).json()["items"]:
                break
            await asyncio.sleep(0.02)
        yield running


async def texts(server: Serving, chat_id: str) -> list[tuple[str, str]]:
    chat = (await server.native("GET", f"/chats/{chat_id}")).json()
    return [(message["role"], message["content"]) for message in chat["messages"]]


def chat_id_in(hint: str) -> str:
    return hint.rpartition("--chat ")[2].strip()


async def total(server: Serving) -> int:
    return int((await server.native("GET", "/chats")).json()["total_count"])


async def test_the_answer_is_all_of_standard_output_and_the_chat_is_kept(server: Serving) -> None:
    done = await server.chat("What is the capital of France?")
    assert (done.code, done.out) == (0, "You said: What is the capital of France?\n")
    assert done.err.splitlines() == [
        f"To go on: chatkeep chat --url {server.url} --chat {chat_id_in(done.err)}"
    ]
    assert await texts(server, chat_id_in(done.err)) == [
        ("user", "What is the capital of France?"),
        ("assistant", "You said: What is the capital of France?"),
    ]


async def test_the_text_is_printed_while_the_model_still_speaks(
    server: Serving, model: ScriptedUpstream
) -> None:
    model.play(Raw([text_event("Par"), None, text_event("is\n"), finish_event(), DONE]))
    process = await start("chat", "Where?", "--url", server.url, key=server.key)
    assert process.stdout is not None
    first = await asyncio.wait_for(process.stdout.read(3), PATIENCE_S)
    model.go_on()  # had nothing come before this, the test would have waited in vain
    rest, _ = await process.communicate()
    assert (first + rest, process.returncode) == (b"Paris\n", 0)


async def test_a_chat_goes_on(server: Serving) -> None:
    first = await server.chat("one")
    chat_id = chat_id_in(first.err)
    second = await server.chat("two", "--chat", chat_id)
    assert second.out == "You said: two\n"
    assert [text for _, text in await texts(server, chat_id)] == [
        "one",
        "You said: one",
        "two",
        "You said: two",
    ]


async def test_standard_input_is_one_message(server: Serving) -> None:
    done = await server.chat(stdin="\nfirst\n\nsecond ✓\n".encode())
    assert (done.code, done.out) == (0, "You said: first\n\nsecond ✓\n")
    assert len(await texts(server, chat_id_in(done.err))) == 2


async def test_nothing_said_is_nothing_made(server: Serving) -> None:
    before = await total(server)
    done = await server.chat(stdin=b" \n")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert await total(server) == before


async def test_whoever_holds_the_data_folder_asks_as_the_owner(server: Serving) -> None:
    done = await run("chat", "no key", "--url", server.url, "--data", str(server.data))
    assert (done.code, done.out) == (0, "You said: no key\n")
    hint, chat_id = done.err.strip(), chat_id_in(done.err)
    assert hint == f"To go on: chatkeep chat --url {server.url} --data {server.data} --chat {chat_id}"
    assert len(await texts(server, chat_id)) == 2


async def test_port_and_host_of_the_server_are_those_of_the_environment(server: Serving) -> None:
    port = server.url.rpartition(":")[2]
    done = await run("chat", "there", port=port, host="0.0.0.0", key=server.key)
    assert (done.code, done.out) == (0, "You said: there\n")


@pytest.mark.parametrize("key", ["ck_wrong", "eyJhbGciOiJub25lIn0.e30."])
async def test_a_wrong_key_is_one_line(server: Serving, key: str) -> None:
    done = await server.chat("hello", key=key)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"chatkeep: {server.url} does not know the key in CHATKEEP_KEY: Invalid or expired token.\n"
    )


async def test_another_data_folder_is_not_this_servers(server: Serving, tmp_path: Path) -> None:
    system = wiring.make_system(Settings(data=tmp_path / "other", local_model=False))
    await wiring.first_start(system)
    await wiring.close(system)
    done = await run("chat", "hello", "--url", server.url, "--data", str(tmp_path / "other"))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(
        f"chatkeep: {server.url} does not work on the data folder {tmp_path / 'other'};"
    )
    assert done.err.count("\n") == 1


async def test_the_owners_token_does_not_leave_the_machine(server: Serving) -> None:
    done = await run("chat", "hello", "--url", "http://192.0.2.1", "--data", str(server.data))
    assert (done.code, done.out) == (1, "")
    assert "set CHATKEEP_KEY" in done.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(("--chat", "nowhere"), "Chat not found."), (("--model", "nothing"), "model_id: no such model")],
)
async def test_what_does_not_exist_is_one_line_and_leaves_nothing(
    server: Serving, options: tuple[str, str], sentence: str
) -> None:
    before = await total(server)
    done = await server.chat("hello", *options)
    assert (done.code, done.out, done.err) == (1, "", f"chatkeep: {sentence}\n")
    assert await total(server) == before


async def test_a_message_that_is_refused_leaves_no_empty_chat(server: Serving) -> None:
    before = await total(server)
    done = await server.chat("x" * 100_001)
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert await total(server) == before


async def test_an_answer_that_fails_is_one_line_after_what_was_said(
    server: Serving, model: ScriptedUpstream
) -> None:
    model.play(Script(["Half an ", "answer"], failure="error_chunk"))
    done = await server.chat("hello")
    assert (done.code, done.out) == (1, "Half an answer\n")
    told, hint = done.err.splitlines()
    assert told.startswith("chatkeep: ")
    assert "the model fell over" in told
    assert (await texts(server, chat_id_in(hint)))[1] == ("assistant", "Half an answer")


async def test_ctrl_c_stops_the_answer(server: Serving, model: ScriptedUpstream) -> None:
    stopped = model.disconnects
    model.play(Raw([text_event("Be"), None]))
    process = await start("chat", "hello", "--url", server.url, key=server.key)
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.read(2), PATIENCE_S) == b"Be"
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    told, hint = err.decode().splitlines()
    assert (process.returncode, out, told) == (130, b"\n", "chatkeep: The answer was stopped.")
    await asyncio.wait_for(model.until_disconnects(stopped + 1), PATIENCE_S)
    chat = (await server.native("GET", f"/chats/{chat_id_in(hint)}")).json()
    assert [(each["content"], each["status"]) for each in chat["messages"][1:]] == [("Be", "incomplete")]
    assert chat["status"] is None


async def test_ctrl_c_before_the_first_word_stops_too(server: Serving, model: ScriptedUpstream) -> None:
    asked = len(model.requests)
    model.play(Raw([None]))
    process = await start("chat", "hello", "--url", server.url, key=server.key)
    await asyncio.wait_for(model.until_requests(asked + 1), PATIENCE_S)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert (process.returncode, out) == (130, b"")
    assert b"The answer was stopped." in err


async def test_an_answer_stopped_elsewhere_says_so(server: Serving, model: ScriptedUpstream) -> None:
    model.play(Raw([text_event("Be"), None]))
    process = await start("chat", "hello", "--url", server.url, key=server.key)
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.read(2), PATIENCE_S)
    chat_id = (await server.native("GET", "/chats?limit=1")).json()["items"][0]["id"]
    assert (await server.native("POST", f"/chats/{chat_id}/stop", body={})).is_success
    _, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 1
    assert err.startswith(b"chatkeep: The answer was stopped.\n")


async def test_continue_goes_on_in_the_latest_chat(server: Serving) -> None:
    first = await server.chat("one")
    second = await server.chat("--continue", "two")
    assert (second.code, second.out) == (0, "You said: two\n")
    assert chat_id_in(second.err) == chat_id_in(first.err)
    done = await server.chat("--continue", "--chat", "some", "three")
    assert (done.code, done.out) == (2, "")
    assert "--continue" in done.err


async def test_nothing_to_continue_is_one_line(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", local_model="false") as fresh:
        done = await fresh.chat("--continue", "hello")
    assert (done.code, done.out) == (1, "")
    assert done.err == "chatkeep: You have no chat to go on with yet.\n"


async def test_history_is_the_conversation_so_far_with_states_in_words(
    server: Serving, model: ScriptedUpstream
) -> None:
    first = await server.chat(stdin=b"one\nmore")
    chat_id = chat_id_in(first.err)
    model.play(Script(["Half"], failure="error_chunk"))
    await server.chat("two", "--chat", chat_id)
    done = await server.chat("--history", "--chat", chat_id)
    assert done.code == 0
    assert done.out == (
        "> one\n> more\n\nYou said: one\nmore\n\n> two\n\nHalf\n"
        "[The answer failed: scripted: upstream error: the model fell over]\n\n"
    )
    latest = await server.chat("--history", "three")
    assert latest.out == done.out + "You said: three\n"


async def test_a_question_waits_for_the_answer_under_way(server: Serving, model: ScriptedUpstream) -> None:
    model.play(Raw([text_event("First"), None, finish_event(), DONE]))
    first = await start("chat", "one", "--url", server.url, key=server.key)
    assert first.stdout is not None
    await asyncio.wait_for(first.stdout.read(5), PATIENCE_S)
    history = await server.chat("--history")
    assert history.out == "> one\n\nFirst\n[The answer is being generated.]\n\n"
    chat_id = (await server.native("GET", "/chats?limit=1")).json()["items"][0]["id"]
    second = await start("chat", "two", "--url", server.url, "--chat", chat_id, key=server.key)
    assert second.stderr is not None
    told = await asyncio.wait_for(second.stderr.readline(), PATIENCE_S)
    assert told.decode().strip() == "Another answer is being generated in this chat; yours comes after it."
    model.go_on()
    out, _ = await asyncio.wait_for(second.communicate(), PATIENCE_S)
    await asyncio.wait_for(first.communicate(), PATIENCE_S)
    assert (second.returncode, out) == (0, b"You said: two\n")


async def test_a_model_cannot_steer_the_terminal_but_a_pipe_gets_every_byte(
    server: Serving, model: ScriptedUpstream
) -> None:
    said = Script(["\x1b[2J\x1b]0;title\x07", "plain\ttext\u009b1m"])
    model.play(said, said)
    piped = await server.chat("hello")
    assert piped.out == "\x1b[2J\x1b]0;title\x07plain\ttext\u009b1m\n"
    near, far = pty.openpty()
    env = environment(key=server.key)
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "chat", "hello", "--url", server.url, stdout=far, stderr=asyncio.subprocess.DEVNULL, env=env
    )
    await process.wait()
    os.close(far)
    seen = os.read(near, 1000)
    os.close(near)
    assert seen == b"[2J]0;titleplain\ttext1m\r\n"


async def test_nobody_at_the_address_is_one_line_that_says_what_to_start(tmp_path: Path) -> None:
    done = await run("chat", "hello", "--url", "http://127.0.0.1:9", key="ck_any")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "chatkeep: No answer from http://127.0.0.1:9 (connection refused). "
        "`chatkeep serve --port 9` starts a server there.\n"
    )
    done = await run("chat", "hello", "--url", "https://nowhere.invalid", key="ck_any")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "serve" not in done.err
    done = await run("chat", "hello", data=str(tmp_path / "none"))
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "`chatkeep serve`" in done.err
    assert "CHATKEEP_KEY" in done.err


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8000", "http://", "http://127.0.0.1:99999"])
async def test_an_address_that_is_none_is_a_usage_error(url: str) -> None:
    done = await run("chat", "hello", "--url", url, key="ck_any")
    assert (done.code, done.out) == (2, "")
    assert "--url" in done.err


async def test_text_that_is_not_utf_8_is_a_usage_error(server: Serving) -> None:
    done = await server.chat("hello \udcff")
    assert "MESSAGE" in done.err
    assert (done.code, done.out) == (2, "")
    done = await server.chat(stdin=b"hello \xff\n")
    assert "standard input" in done.err
    assert (done.code, done.out) == (2, "")


@pytest.mark.skipif(
    weights_path() is None, reason="the offline model is not installed (`chatkeep models fetch`)"
)
async def test_the_offline_model_answers(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as server:
        done = await run(
            "chat", "What is the capital of France?", "--url", server.url, "--data", str(server.data)
        )
        assert done.code == 0
        assert "Paris" in done.out
        assert await texts(server, chat_id_in(done.err)) == [
            ("user", "What is the capital of France?"),
            ("assistant", done.out.removesuffix("\n")),
        ]
