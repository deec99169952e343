"""Reading a Dockerfile, as far as the tests of ours need it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@dataclass(frozen=True)
class Step:
    """One instruction and what it is given, in one line."""

    name: str
    said: str


def stages(path: Path = DEPLOY / "Dockerfile") -> list[list[Step]]:
    """The steps of each stage, which begins with its FROM."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    found: list[list[Step]] = []
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, _, said = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append(Step(name, said.strip()))
    return found


def copied() -> list[str]:
    """What the first stage takes from the project."""
    return [
        source
        for step in stages()[0]
        if step.name == "COPY"
        for source in step.said.split()[:-1]
        if not source.startswith("--")
    ]
