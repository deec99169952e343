"""The figures of a run, and how they are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

HEADS = ("work", "requests/s", "p50 ms", "p99 ms", "CPU µs", "x bare", "x nginx")
EXPLAINED = """\
Medians over the rounds. CPU: of the server's process, user and system, per request. x bare, x nginx: that CPU beside
what a bare uvicorn and nginx need to send the native chat of the same size (of 100 messages where a row has none)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row's figures: medians over the rounds. `note` tells what was wrong, or why there are none."""

    work: str
    rps: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_us: float = 0.0
    body_bytes: int = 0
    x_bare: float | None = None
    x_nginx: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run. `flatness`: fastest over slowest append. Start in seconds, memory in MiB."""

    rows: Sequence[Row]
    flatness: float | None
    start_s: float
    memory_mb: float
    has_nginx: bool

    def write(self, path: Path) -> None:
        """All figures as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def show(self) -> str:
        """The table as text."""
        width = max(len(row.work) for row in self.rows)
        lines = [_line(HEADS, width), "-" * (width + 60)]
        lines += [_line(_cells(row), width) for row in self.rows]
        lines += ["", EXPLAINED]
        if not self.has_nginx:
            lines.append("nginx is not installed, so nothing is compared with it.")
        if self.flatness is not None:
            lines.append(f"Appends, fastest / slowest of the sizes: {self.flatness:.2f}")
        lines.append(f"Start to the first answer of /health: {self.start_s:.2f} s (median)")
        lines.append(f"Resident memory idle: {self.memory_mb:.0f} MiB")
        return "\n".join(lines)


def middle(rows: Sequence[Row]) -> Row:
    """One row from those of all rounds."""
    first = rows[0]
    notes = {row.note for row in rows if row.note}
    return Row(
        first.work,
        rps=median(row.rps for row in rows),
        p50_ms=median(row.p50_ms for row in rows),
        p99_ms=median(row.p99_ms for row in rows),
        cpu_us=median(row.cpu_us for row in rows),
        body_bytes=first.body_bytes,
        note="; ".join(sorted(notes)),
    )


def _cells(row: Row) -> tuple[str, ...]:
    if not row.rps:
        return (row.work, row.note, "", "", "", "", "")
    ratios = ("-" if ratio is None else f"{ratio:.2f}" for ratio in (row.x_bare, row.x_nginx))
    figures = (f"{row.rps:,.0f}", f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}", f"{row.cpu_us:,.0f}")
    return (row.work, *figures, *ratios, row.note)


def _line(cells: Sequence[str], width: int) -> str:
    first, *others = cells
    sizes = (13, 9, 9, 9, 9, 9)
    return (
        first.ljust(width)
        + "".join(f" {cell:>{size - 1}}" for cell, size in zip(others, sizes, strict=False))
        + "".join(f"  {cell}" for cell in others[len(sizes) :])
    ).rstrip()
