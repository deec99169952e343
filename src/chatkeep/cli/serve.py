"""`chatkeep serve`: open the data folder, say how to use it, serve until told to stop."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from chatkeep import config, wiring
from chatkeep.cli import logs
from chatkeep.cli.settings import read_settings
from chatkeep.domain.errors import StoreRefused
from chatkeep.edge.launcher import ensure_allocator
from chatkeep.edge.server import serve as run_server
from chatkeep.services.organisations import NewOrganisation


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes any free one.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the database and the secrets.")] = None,
) -> None:
    """Start the server. At first start it makes an organisation and prints its owner's key, once."""
    settings = read_settings(host=host, port=port, data=data)
    ensure_allocator(config.environment(), sys.orig_argv)
    logs.configure(settings.log_level, settings.log_format)
    try:
        system = wiring.make_system(settings)
    except StoreRefused as refusal:
        typer.echo(f"chatkeep cannot start: {refusal}", err=True)
        raise typer.Exit(1) from None
    first = asyncio.run(wiring.first_start(system))
    server = wiring.make_server(settings, system)

    def on_ready(url: str) -> None:
        typer.echo(_welcome(url, first, has_model=bool(system.providers)))

    code = run_server(
        server.edge,
        host=settings.host,
        port=settings.port,
        limits=server.limits,
        drain=server.drain,
        on_ready=on_ready,
    )
    raise typer.Exit(code)


def _welcome(url: str, first: NewOrganisation | None, *, has_model: bool) -> str:
    lines = [f"chatkeep is ready at {url}  (docs: {url}/chatkeep/v1/docs)"]
    if first is not None:
        lines += [
            "",
            "This is the owner's key. It is shown this once and stored nowhere:",
            "",
            f"  export CHATKEEP_KEY={first.key}",
            "",
            "Try:",
            "",
            '  .venv/bin/chatkeep chat "What is the capital of France?"',
            f'  curl -H "Authorization: Bearer $CHATKEEP_KEY" {url}/chatkeep/v1/chats',
        ]
    if not has_model:
        lines += ["", "No model is installed: `chatkeep models fetch` gets the offline one."]
    return "\n".join(lines)
