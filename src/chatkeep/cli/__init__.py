"""The command line, thin over wiring and services."""

from __future__ import annotations

from chatkeep.cli.app import app


def main() -> None:
    """The console script `chatkeep`."""
    app()
