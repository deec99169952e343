"""The lock files: everything pinned with hashes, no address in them, and one environment can serve both."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(
    r"^([a-z0-9-]+)==(\S+)(?: ; [^\\]+?)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    return {match[1]: match[2] for match in PIN.finditer(lock(name))}


def wanted(requirements: list[object]) -> set[str]:
    return {re.split(r"[\[<>=]", one)[0] for one in requirements if isinstance(one, str)}


@pytest.mark.parametrize("name", ["run", "dev"])
def test_lock_is_nothing_but_pins_with_hashes(name: str) -> None:
    assert PIN.sub("", lock(name)) == ""


def test_dev_lock_holds_all_of_run_lock() -> None:
    assert pins("run").items() <= pins("dev").items()


def test_locks_hold_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups, extras = project["dependency-groups"], project["project"]["optional-dependencies"]
    run = wanted(project["project"]["dependencies"] + extras["local"] + groups["build"])
    assert run <= pins("run").keys()
    assert wanted(groups["dev"]) <= pins("dev").keys()
    assert not wanted(groups["dev"]) - wanted(groups["build"]) & pins("run").keys()
