"""All commands by name. Quick to import: what takes long is imported by the command that needs it."""

from __future__ import annotations

from typing import Annotated

import typer

from chatkeep import __version__
from chatkeep.cli import (
    backup,
    chat,
    config,
    copy,
    doctor,
    keys,
    migrate,
    models,
    nodes,
    orgs,
    serve,
    sweep,
    users,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("serve")(serve.serve)
app.command("chat")(chat.chat)
app.add_typer(keys.app, name="keys")
app.add_typer(users.app, name="users")
app.add_typer(orgs.app, name="orgs")
app.add_typer(models.app, name="models")
app.command("config")(config.config)
app.command("doctor")(doctor.doctor)
app.command("sweep")(sweep.sweep)
app.command("nodes")(nodes.nodes)
app.command("migrate")(migrate.migrate)
app.command("backup")(backup.backup)
app.command("copy")(copy.copy)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"chatkeep {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """A self-hosted chat server: one durable store, any dialect, nothing lost."""
