"""Reads a SQLite write-ahead log as bytes (sqlite.org/fileformat2.html, section 4): frames and commits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24


@dataclass(frozen=True, slots=True)
class Frame:
    """One page image. `end` is the offset behind it; `is_commit` marks the last one of a transaction."""

    end: int
    is_commit: bool


def frames(path: Path) -> list[Frame]:
    """The frames of the log's present round, oldest first; those of an earlier round behind them are left out."""
    log = path.read_bytes()
    page_bytes, salts = int.from_bytes(log[8:12], "big"), log[16:24]
    step = FRAME_HEADER_BYTES + page_bytes
    found = []
    for at in range(HEADER_BYTES, len(log) - step + 1, step if log else 1):
        if log[at + 8 : at + 16] != salts:
            break
        found.append(Frame(at + step, log[at + 4 : at + 8] != bytes(4)))
    return found


def salts(path: Path) -> bytes:
    """What names the log's present round; changes whenever writing begins at its start again."""
    with path.open("rb") as log:
        return log.read(HEADER_BYTES)[16:24]


def commits(path: Path) -> int:
    """How many transactions the log holds."""
    return sum(frame.is_commit for frame in frames(path))
