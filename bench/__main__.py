"""`make bench`: starts the servers, loads them row by row and prints the table. `--help` tells the rest."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from statistics import median

import uvloop

from bench import load, server
from bench.scenarios import SMALL, Library, Scale, Work, appends
from bench.server import ENGINES, HOST, NOBODY, Running, keep_off
from bench.table import Report, Row, middle

WARM_UP = 1.1
BARE, NGINX = "bare uvicorn", "nginx from disk"


async def measure(work: Work, seconds: float) -> Row:
    """One row of one round."""
    if work.requests is None:
        return Row(work.name, note=work.note)
    before = work.server.cpu_s()
    found = await load.run(
        HOST, work.server.port, work.requests, connections=work.connections, seconds=seconds
    )
    cpu_us = (work.server.cpu_s() - before) / max(found.answered, 1) * 1e6
    wrong = [f"{count} x {status}" for status, count in found.statuses.items() if status != work.status]
    if found.broken:
        wrong.append(f"{found.broken} broken off")
    return Row(
        work.name, found.rps, found.p50_ms, found.p99_ms, cpu_us, found.body_bytes, note=", ".join(wrong)
    )


def report(scale: Scale, *, seconds: float, rounds: int, only: str, engine: str = "sqlite") -> Report:
    """Start, load, stop. The rounds are interleaved, so that a noisy moment hits one round of a row and not all."""
    with (
        tempfile.TemporaryDirectory(prefix="chatkeep-bench-") as temporary,
        server.databases(engine) as place,
        ExitStack() as stack,
    ):
        folder = Path(temporary)
        for name in ("reads", "writes", "bodies"):
            (folder / name).mkdir()
        settings = {**NOBODY, **place()}
        reads = stack.enter_context(server.chatkeep(folder / "reads", settings=settings))
        memory_mb = reads.memory_mb()
        library = Library(reads, scale)
        writes = (
            reads
            if scale is SMALL
            else stack.enter_context(server.chatkeep(folder / "writes", settings={**NOBODY, **place()}))
        )
        bodies = folder / "bodies"
        for size in scale.sizes:
            (bodies / str(size)).write_bytes(library.body(size))
        bare, nginx = stack.enter_context(server.bare(bodies)), stack.enter_context(server.nginx(bodies))
        works = [*yardsticks(BARE, bare, scale), *yardsticks(NGINX, nginx, scale), *library.works()]
        works += appends(writes, scale, seconds * rounds * WARM_UP)
        works = [work for work in works if only in work.name or work.server in (bare, nginx)]
        rows = uvloop.run(measure_all(works, seconds, rounds))
        stack.close()
        starts = [
            reads.start_s,
            *(_restart(folder / "reads", reads, settings) for _ in range(scale.starts - 1)),
        ]
    flatness = _flatness(rows)
    rows = compared(rows, works)
    return Report(rows, flatness, median(starts), memory_mb, has_nginx=nginx is not None)


def yardsticks(name: str, running: Running | None, scale: Scale) -> Iterator[Work]:
    """The native chats' bytes from a server that does nothing else."""
    if running is not None:
        for size in scale.sizes:
            asked = load.request("GET", f"/{size}", {})
            yield Work(f"{name}, bytes of {size:,}", running, repeat(asked), size=size)


async def measure_all(works: Sequence[Work], seconds: float, rounds: int) -> list[Row]:
    """The median of every row."""
    found = [[await measure(work, seconds) for work in works] for _ in range(rounds)]
    return [middle(rows) for rows in zip(*found, strict=True)]


def compared(rows: Sequence[Row], works: Sequence[Work]) -> list[Row]:
    """The rows with their CPU beside the yardsticks'."""
    cpu_us = {row.work: row.cpu_us for row in rows}

    def ratio(row: Row, work: Work, name: str) -> float | None:
        beside = cpu_us.get(f"{name}, bytes of {work.size:,}")
        return row.cpu_us / beside if beside else None

    return [
        replace(row, x_bare=ratio(row, work, BARE), x_nginx=ratio(row, work, NGINX))
        for row, work in zip(rows, works, strict=True)
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="measured time of each row in each round")
    parser.add_argument("--rounds", type=int, default=3, help="how often each row is measured")
    parser.add_argument("--only", default="", metavar="TEXT", help="only rows whose name has this text")
    parser.add_argument("--small", action="store_true", help="few and small chats: does it run at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="the database")
    said = parser.parse_args()
    keep_off()
    scale = SMALL if said.small else Scale()
    made = report(scale, seconds=said.seconds, rounds=said.rounds, only=said.only, engine=said.engine)
    print(made.show())
    if said.json is not None:
        made.write(said.json)


def _restart(folder: Path, before: Running, settings: Mapping[str, str]) -> float:
    with server.chatkeep(folder, before.key, settings=settings) as running:
        return running.start_s


def _flatness(rows: Sequence[Row]) -> float | None:
    found = [row.rps for row in rows if row.work.startswith("append") and row.rps]
    return max(found) / min(found) if found else None


if __name__ == "__main__":
    main()
