"""The Makefile and its scripts: help tells every target, and the choice of Python is the one the README promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={"PATH": path})


def python_named(folder: Path, name: str, *, answers: bool) -> None:
    """A program called `name` in `folder` that is this very Python, or one that is too old."""
    body = (
        f'exec "{sys.executable}" "$@"'
        if answers
        else 'case "$1" in --version) echo "Python 3.9.2";; *) exit 1;; esac'
    )
    (folder / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def test_help_tells_every_target_a_person_calls() -> None:
    told = re.findall(r"^  make ([a-z-]+) +\S", run("make", "--no-print-directory").stdout, re.MULTILINE)
    assert told == ["help", "run", "test", "test-long", "check", "fix", "bench", "lock", "clean"]


def test_run_hands_over_port_host_and_data() -> None:
    planned = run("make", "--dry-run", "run", "PORT=8123", "HOST=127.0.0.9", "DATA=/tmp/kept")
    assert (
        'exec .venv/bin/chatkeep serve --host "127.0.0.9" --port "8123" --data "/tmp/kept"' in planned.stdout
    )
    planned = run("make", "--dry-run", "run")
    assert 'exec .venv/bin/chatkeep serve --host "127.0.0.1" --port "8000" --data "./data"' in planned.stdout


def test_find_python_passes_over_one_that_is_too_old(tmp_path: Path) -> None:
    python_named(tmp_path, "python3", answers=False)
    python_named(tmp_path, "python3.12", answers=True)
    found = run("/bin/sh", "scripts/find-python", path=str(tmp_path))
    assert (found.returncode, found.stdout.strip()) == (0, sys.executable)


def test_find_python_says_clearly_that_there_is_none(tmp_path: Path) -> None:
    python_named(tmp_path, "python3", answers=False)
    found = run("/bin/sh", "scripts/find-python", path=str(tmp_path))
    assert found.returncode == 1
    assert found.stdout == ""
    assert "needs Python 3.11 or newer; found: Python 3.9.2" in found.stderr


TOOLS = {"curl": "curl", "node": "nodejs", "chromium": "chromium", "esbuild": "esbuild"}
"""Program -> Debian's package."""
MODULE = "react-dom"


def bootstrap(place: Path, *there: str) -> subprocess.CompletedProcess[str]:
    """Run by nobody special where but these are installed."""
    tools, modules = place / "bin", place / "nodejs"
    tools.mkdir()
    for each in there:
        if each == MODULE:
            (modules / each).mkdir(parents=True)
        else:
            python_named(tools, each, answers=True)
    (tools / "id").write_text("#!/bin/sh\necho 1000\n", encoding="utf-8")
    (tools / "id").chmod(0o755)
    return run("/bin/sh", "scripts/bootstrap", modules, path=str(tools))


def test_bootstrap_is_silent_where_nothing_is_missing(tmp_path: Path) -> None:
    done = bootstrap(tmp_path, *TOOLS, MODULE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_bootstrap_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    done = bootstrap(tmp_path, "curl")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "Missing: nodejs chromium esbuild node-react-dom. The tests that need them will fail; "
        "install them with your package manager."
    ]


@pytest.mark.parametrize(("missing", "package"), [*TOOLS.items(), (MODULE, "node-react-dom")])
def test_bootstrap_looks_for_each_tool(tmp_path: Path, missing: str, package: str) -> None:
    done = bootstrap(tmp_path, *({*TOOLS, MODULE} - {missing}))
    assert (done.returncode, done.stderr.partition(".")[0]) == (0, f"Missing: {package}")
