"""Commands and their outputs out of the manual, and whether an output has the shape of another one.

The convention: a block fenced as ```console is a shell session. A line that begins with `$ ` is a command, and goes on
in the next line where it ends in a backslash; the lines up to the next command are what it prints on standard output.
Blocks of any other kind are not run.

Outputs agree when nothing differs but ids, times, keys and addresses, numbers that depend on when and how the model
answered, and what the model said. A printed line of `…` alone stands for any number of lines, a `…` where a field of an
object would be for any fields.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

PATIENCE_S = 120.0
PROMPT = "$ "
ANY_LINES = ANY_FIELDS = "…"
DATA = "data: "
"""What a line of server-sent events begins with; the rest is compared as JSON."""

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LEFT_OUT = re.compile(rf"(?<=[{{,]){ANY_FIELDS}(?=[,}}])")
_MASKS = (
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"), "<time>"),
    (re.compile(r"\bcks?_[0-9A-Za-z]+"), "<key>"),
    (re.compile(r"(?:localhost|127\.0\.0\.1):\d+"), "<address>"),
    (re.compile(r"^id: \d+$"), "id: <cursor>"),  # how many pieces an answer has is the moment's choice
)
_NUMBER_OF_THE_MOMENT = re.compile(r"(?:_at|timestamp|_ms|Ms|version)$|token", re.IGNORECASE)
_SAID = frozenset({"content", "text", "delta", "message", "agent_message", "transcript"})


@dataclass(frozen=True)
class Step:
    """A command, and what the manual prints below it."""

    command: str
    printed: str


def steps(manual: str) -> list[Step]:
    """All commands of a document in order."""
    return [step for block in _BLOCK.findall(manual) for step in _steps(block)]


def _steps(block: str) -> list[Step]:
    assert block.startswith(PROMPT), f"a console block begins with a command: {block!r}"
    found = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        end = next(number for number, line in enumerate(lines) if not line.endswith("\\")) + 1
        found.append(Step("\n".join(lines[:end]), "\n".join(lines[end:])))
    return found


class Shell:
    """A shell that keeps its variables from one command to the next, as the one of a reader does."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._state = folder / ".variables"
        self._state.touch()

    def run(self, command: str) -> str:
        """The command's standard output; it must succeed."""
        script = f'set -a\n. "{self._state}"\n{command}\ncode=$?\nexport -p >"{self._state}"\nexit $code\n'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout.rstrip("\n")


def differences(printed: str, got: str) -> list[str]:
    """Where the shapes of two outputs differ; empty when they agree."""
    try:
        return _of_json(_read(printed), json.loads(got), "")
    except ValueError:
        return _of_lines(printed.splitlines(), got.splitlines())


def _read(printed: str) -> Any:
    one_line = re.sub(r"\n\s*", "", printed)
    return json.loads(_LEFT_OUT.sub(f'"{ANY_FIELDS}":null', one_line))


def _of_lines(printed: list[str], got: list[str]) -> list[str]:
    if ANY_LINES in printed:
        at = printed.index(ANY_LINES)
        after = len(printed) - at - 1
        if len(got) < at + after:
            return [f"only {len(got)} lines"]
        rest = got[len(got) - after :]
        return _of_lines(printed[:at], got[:at]) + _of_lines(printed[at + 1 :], rest)
    pairs = zip_longest(printed, got, fillvalue="(no line)")
    return [each for ours, theirs in pairs for each in _of_line(ours, theirs)]


def _of_line(printed: str, got: str) -> list[str]:
    if _masked(printed) == _masked(got):
        return []
    if printed.startswith(DATA) and got.startswith(DATA):
        return differences(printed.removeprefix(DATA), got.removeprefix(DATA))
    return [f"{printed!r} is now {got!r}"]


def _of_json(printed: Any, got: Any, path: str) -> list[str]:
    if type(printed) is not type(got):
        return [f"{path}: {printed!r} is now {got!r}"]
    if isinstance(printed, dict):
        if ANY_FIELDS in printed:
            printed = {name: value for name, value in printed.items() if name != ANY_FIELDS}
            got = {name: value for name, value in got.items() if name in printed}
        ours, theirs = [_masked(name) for name in printed], [_masked(name) for name in got]
        if ours != theirs:
            return [f"{path}: keys {ours} are now {theirs}"]
        pairs = zip(ours, printed.values(), got.values(), strict=True)
        return [each for name, one, other in pairs for each in _of_json(one, other, f"{path}.{name}")]
    if isinstance(printed, list):
        if len(printed) != len(got):
            return [f"{path}: {len(printed)} items are now {len(got)}"]
        numbered = zip(range(len(printed)), printed, got, strict=True)
        return [each for number, one, other in numbered for each in _of_json(one, other, f"{path}.{number}")]
    is_same = _masked(printed) == _masked(got) if isinstance(printed, str) else printed == got
    return (
        []
        if is_same or _is_of_the_moment(path.rpartition(".")[2], got)
        else [f"{path}: {printed!r} is now {got!r}"]
    )


def _is_of_the_moment(name: str, got: Any) -> bool:
    if isinstance(got, str):
        return name in _SAID and got != ""
    return not isinstance(got, bool) and _NUMBER_OF_THE_MOMENT.search(name) is not None


def _masked(text: str) -> str:
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text
