"""`make bench` still runs: its smallest form, whose figures nobody looks at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_the_bench_prints_its_table_and_writes_its_figures(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench", "--seconds", "0.05", "--only", "304", "--starts", "0"]
    done = subprocess.run(
        [*command, "--json", str(figures)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows = {row["work"]: row for row in json.loads(figures.read_text())}
    assert {"304, native", "304, cuadra", "bare uvicorn, same bytes"} <= rows.keys()
    assert not any(row.get("errors") for row in rows.values())
    assert "304, synthflow" in done.stdout
