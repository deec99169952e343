"""A llama.cpp server in a process of its own, seen from its parent: start, watch, kill.

Its own process, so that neither a crash, nor its memory, nor its threads can touch the server that asks it; the
other end is `llama_child`. It listens on loopback, on a port the system chose, and answers only to a key made for
this run.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from chatkeep.domain.errors import ProviderFailed

_CHILD = Path(__file__).with_name("llama_child.py")
_START_TIMEOUT_S = 120.0
_DYING_S = 0.25
_LOG_TAIL_BYTES = 2048
_REASON_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class LlamaSettings:
    """What to load and how much of the machine it may use; `context_tokens` is for each of `parallel` answers."""

    weights: Path
    threads: int
    parallel: int
    context_tokens: int


class LlamaServer:
    """A running server. Make it with `start`; it ends with `stop`, or with this process, however that ends."""

    def __init__(self, process: subprocess.Popen[bytes], address: str, api_key: str) -> None:
        self._process = process
        self.address = address
        self.api_key = api_key

    @classmethod
    async def start(cls, settings: LlamaSettings) -> Self:
        """Start one and wait until it answers. Raises `ProviderFailed`; nothing is left behind then."""
        with tempfile.TemporaryFile() as log:
            try:
                process = _spawn(settings, log)
            except OSError as trouble:
                raise ProviderFailed(f"local: no process for the offline model: {trouble.strerror}") from None
            try:
                async with asyncio.timeout(_START_TIMEOUT_S):
                    ready = await asyncio.to_thread(_first_line, process)
            except TimeoutError:
                _kill(process)
                raise ProviderFailed(
                    f"local: the offline model did not start within {_START_TIMEOUT_S:g} s"
                ) from None
            except asyncio.CancelledError:
                _kill(process)
                raise
            if not ready:
                _kill(process)
                raise ProviderFailed(f"local: the offline model did not start: {_last_line(log)}")
        told = json.loads(ready)
        return cls(process, told["address"], told["api_key"])

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def process_id(self) -> int:
        """The system's id of the process."""
        return self._process.pid

    async def has_died(self) -> bool:
        """Whether the process is gone, or goes within a moment: connections break before the system says so."""
        try:
            await asyncio.to_thread(self._process.wait, _DYING_S)
        except subprocess.TimeoutExpired:
            return False
        return True

    async def stop(self) -> None:
        """Kill it (it holds nothing that could be lost) and wait until it is gone."""
        await asyncio.to_thread(_kill, self._process)


def _spawn(settings: LlamaSettings, log: IO[bytes]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(  # noqa: S603 - our own interpreter on our own file
        # -P: its folder holds modules of ours, which must not be found instead of others'.
        [sys.executable, "-P", str(_CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        # A Ctrl-C in the terminal is for the server, which drains its answers first.
        start_new_session=True,
    )
    line = {
        "weights": str(settings.weights),
        "threads": settings.threads,
        "parallel": settings.parallel,
        "context_tokens": settings.context_tokens,
    }
    assert process.stdin is not None
    process.stdin.write(json.dumps(line).encode() + b"\n")
    process.stdin.flush()
    return process


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def _last_line(log: IO[bytes]) -> str:
    log.seek(0, 2)
    log.seek(max(0, log.tell() - _LOG_TAIL_BYTES))
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:_REASON_CHARACTERS_MAX] if lines else "it said nothing"


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
