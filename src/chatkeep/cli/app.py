"""All commands by name."""

from __future__ import annotations

import typer

from chatkeep.cli import serve

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="chatkeep")
app.command("serve")(serve.serve)


@app.callback()
def _main() -> None:
    """A self-hosted chat server: one durable store, any dialect, nothing lost."""
