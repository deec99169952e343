"""`make bench`: the table of what a request costs."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench import load, scenarios, server
from bench.scenarios import Work
from bench.server import LOAD_CORE, Running

Figures = dict[str, float | str]
STARTS = 5


async def measure(running: Running, work: Work, seconds: float) -> Figures:
    """One row."""
    before = running.cpu_s()
    result = await load.run(
        "127.0.0.1", running.port, work.requests, connections=work.connections, seconds=seconds
    )
    answered = sum(result.statuses.values())
    cpu_us = (
        (running.cpu_s() - before) / max(answered * 1.1, 1) * 1e6
    )  # a tenth more was answered while warming up
    bad = {status: count for status, count in result.statuses.items() if status >= 400}
    return {
        "work": work.name,
        "rps": result.rps,
        "p50_ms": result.p50_ms,
        "p99_ms": result.p99_ms,
        "cpu_us": cpu_us,
        "bytes": result.body_bytes,
        "errors": ", ".join(f"{count} × {status}" for status, count in bad.items()),
    }


async def run(seconds: float, only: str, starts: int) -> list[Figures]:
    """All rows; the yardsticks serve the bytes of the native chat of 100 messages."""
    rows: list[Figures] = []
    with server.chatkeep() as running:
        rows.append({"work": "resident memory idle, MB", "rps": running.memory_mb()})
        sample = scenarios.make_chat(running, 100)
        body = json.dumps(
            scenarios.ask(running, "GET", scenarios.DIALECTS["native"].format(sample))[0]
        ).encode()
        works = itertools.chain(scenarios.reads(running), scenarios.appends(running))
        rows += [await measure(running, work, seconds) for work in works if only in work.name]
    rows += await yardsticks(body, seconds)
    times = []
    for _ in range(starts):
        with server.chatkeep() as running:
            times.append(running.start_s)
    if times:
        rows.append(
            {"work": f"start to first /health, s (median of {starts})", "rps": statistics.median(times)}
        )
    return rows


async def yardsticks(body: bytes, seconds: float) -> list[Figures]:
    """The same bytes from a bare ASGI application and from nginx."""
    rows = []
    with server.bare(body) as running:
        rows.append(await measure(running, Work("bare uvicorn, same bytes", _plain("/")), seconds))
    with server.nginx(body) as found:
        if found is not None:
            rows.append(await measure(found, Work("nginx from disk, same bytes", _plain("/body")), seconds))
    return rows


def show(rows: list[Figures], console: Console) -> None:
    """The table, with each row's ratio to the yardsticks."""
    by_name = {row["work"]: row for row in rows}
    bare = by_name.get("bare uvicorn, same bytes", {}).get("rps")
    nginx = by_name.get("nginx from disk, same bytes", {}).get("rps")
    table = Table(box=None, header_style="bold")
    for column in ("work", "requests/s", "p50 ms", "p99 ms", "CPU µs", "× bare", "× nginx", "errors"):
        table.add_column(column, justify="left" if column in ("work", "errors") else "right")
    for row in rows:
        if "p50_ms" not in row:
            table.add_row(str(row["work"]), f"{row['rps']:,.2f}")
            continue
        ratios = [f"{float(row['rps']) / float(base):.2f}" if base else "-" for base in (bare, nginx)]
        figures = (
            f"{row['rps']:,.0f}",
            f"{row['p50_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
            f"{row['cpu_us']:.0f}",
        )
        table.add_row(str(row["work"]), *figures, *ratios, str(row["errors"]))
    console.print(table)
    appended = [float(row["rps"]) for row in rows if str(row["work"]).startswith("append")]
    if appended:
        console.print(f"appends: fastest / slowest = {max(appended) / max(min(appended), 1):.2f}")
    if not nginx:
        console.print("nginx is not installed: no ratio to it.")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="measured time of each row")
    parser.add_argument("--only", default="", help="only rows whose name has this text")
    parser.add_argument("--starts", type=int, default=STARTS, help="how many starts are timed")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    said = parser.parse_args()
    console = Console(width=max(Console().width, 110), file=sys.stdout)
    os.sched_setaffinity(0, {LOAD_CORE})
    rows = uvloop.run(run(said.seconds, said.only, said.starts))
    show(rows, console)
    if said.json is not None:
        said.json.write_text(json.dumps(rows, indent=1))


def _plain(path: str) -> itertools.repeat[bytes]:
    return itertools.repeat(load.request("GET", path, {}))


if __name__ == "__main__":
    main()
