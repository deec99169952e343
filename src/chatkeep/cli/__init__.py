"""The command line, thin over wiring and services."""

from __future__ import annotations

import os
import sys

from chatkeep.edge.launcher import ensure_allocator


def main() -> None:
    """The console script `chatkeep`."""
    if sys.argv[1:2] == ["serve"]:
        ensure_allocator(os.environ, sys.orig_argv)
    from chatkeep.cli.app import app  # noqa: PLC0415 - the process may have started anew before, and would import it twice

    app()
