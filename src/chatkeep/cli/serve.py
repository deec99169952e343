"""`chatkeep serve`: open the data folder, say how to use it, serve until told to stop."""

# ruff: noqa: PLC0415 - no other command needs what the server imports

from __future__ import annotations

import gc
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from chatkeep.cli.options import Data, Host, Port
from chatkeep.cli.words import fail, program

if TYPE_CHECKING:
    from chatkeep.config import Settings
    from chatkeep.services.context import System
    from chatkeep.services.organisations import NewOrganisation

USUAL_URL = "http://127.0.0.1:8000"


def serve(
    host: Host = None,
    port: Port = None,
    data: Data = None,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that share the port; more than one on PostgreSQL.")
    ] = 1,
    listener: Annotated[
        int | None, typer.Option(hidden=True, help="The bound socket that --workers hands over.")
    ] = None,
) -> None:
    """Start the server. At first start it makes an organisation and prints its owner's key, once."""
    gc.disable()  # next to nothing of what the imports make is garbage; the server enables it when it listens

    from chatkeep.cli.settings import read_settings

    settings = read_settings(host=host, port=port, data=data)
    if workers == 1:
        raise typer.Exit(_serve(settings, listener))
    if settings.database_url is None:
        fail("Several processes need PostgreSQL (CHATKEEP_DATABASE_URL): a SQLite file has one server.")
    from chatkeep.cli.workers import supervise

    raise typer.Exit(supervise(settings, workers))


def _serve(settings: Settings, listener: int | None = None) -> int:
    from chatkeep import wiring
    from chatkeep.cli import logs
    from chatkeep.edge.server import inherited
    from chatkeep.edge.server import serve as run_server

    logs.configure(settings.log_level, settings.log_format)
    system = _opened(settings)
    untold: list[list[str]] = []
    lines = logs.RequestLines(sys.stderr.buffer)
    server = wiring.make_server(
        settings,
        system,
        requests_log=lines.write if settings.log_requests else None,
        on_first=lambda first: untold.append(_first_key(first)),
    )

    def on_ready(url: str) -> None:
        typer.echo(_welcome(url, untold, has_model=bool(system.providers)))
        untold.clear()

    address = (settings.host, settings.port) if listener is None else inherited(listener)
    code = run_server(server.edge, address, limits=server.limits, drain=server.drain, on_ready=on_ready)
    lines.flush()
    for each in untold:  # It never listened, but the key was made, and nobody can be told later.
        typer.echo("\n".join(each))
    return code


def _opened(settings: Settings) -> System:
    from chatkeep import wiring
    from chatkeep.domain.errors import ChatkeepError

    try:
        wiring.claim_data_folder(settings)
        return wiring.make_system(settings)
    except ChatkeepError as refusal:
        fail(f"cannot start: {refusal}")
    except OSError as error:
        fail(f"cannot start: {settings.data}: {(error.strerror or str(error)).lower()}.")


def _first_key(first: NewOrganisation) -> list[str]:
    said = "This is the owner's key. It is shown this once and stored nowhere:"
    return [said, "", f"  export CHATKEEP_KEY={first.key}"]


def _welcome(url: str, untold: list[list[str]], *, has_model: bool) -> str:
    lines = [f"chatkeep is ready at {url}  (docs: {url}/chatkeep/v1/docs)"]
    for key in untold:
        chat = f"{shlex.quote(program())} chat" + ("" if url == USUAL_URL else f" --url {url}")
        lines += [
            "",
            *key,
            "",
            "Try:",
            "",
            f'  {chat} "What is the capital of France?"',
            f'  curl -H "Authorization: Bearer $CHATKEEP_KEY" {url}/chatkeep/v1/chats',
        ]
    if not has_model:
        lines += ["", "No model is installed: `chatkeep models fetch` gets the offline one."]
    return "\n".join(lines)
