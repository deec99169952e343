"""The client that docs/dialects/lexicon.md shows, run as it is printed there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.clients.serving import PATIENCE_S, Served, environment

PAGE = Path(__file__).parents[2] / "docs" / "dialects" / "lexicon.md"


def test_its_client_talks(server: Served) -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    env = {**environment(), "URL": server.url, "CHATKEEP_KEY": server.key}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "You said: What is the capital of France?"
