"""`make bench` still runs: its smallest form, whose figures nobody looks at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "bare uvicorn, bytes of 100",
    "GET chat of 100, native",
    "GET 100 messages, lexicon",
    "304, native",
    "list of 20 chats, native",
    "append at 10 messages",
    "append at 100 messages",
    "last 50 of 100 messages, native",
}


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")
def test_the_bench_prints_its_table_and_writes_its_figures(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench", "--small", "--seconds", "0.1", "--rounds", "1"]
    command += ["--json", str(figures)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(figures.read_text())
    rows = {row["work"]: row for row in told["rows"]}
    assert rows.keys() >= KINDS
    wrong = {
        work: row["note"]
        for work, row in rows.items()
        if row["note"] and not row["note"].startswith("not there")
    }
    assert wrong == {}
    assert all(rows[kind]["rps"] > 0 and rows[kind]["body_bytes"] > 0 for kind in KINDS - {"304, native"})
    assert told["start_s"] > 0
    assert told["memory_mb"] > 0
    assert all(work in done.stdout for work in rows)
