"""`chatkeep config`: every setting with its value and where that comes from, or all of them as the manual's page.

Secrets are printed as dots, also those inside a provider's address.
"""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from typing import Annotated

import typer

from chatkeep.cli.options import Data, Host, Port
from chatkeep.cli.words import note, show


def config(
    host: Host = None,
    port: Port = None,
    data: Data = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/settings.md instead: all settings, no values.")
    ] = False,
) -> None:
    """Print every setting with its effective value, where that comes from, and what it is for."""
    from chatkeep.cli import catalogue
    from chatkeep.cli.settings import read_settings
    from chatkeep.config import environment

    if markdown:
        typer.echo(catalogue.manual(), nl=False)
        return
    options = {"host": host, "port": port, "data": data}
    said = {name for name, value in options.items() if value is not None}
    settings = read_settings(host=host, port=port, data=data)
    show(("setting", "value", "source", "meaning"), catalogue.effective(settings, said))
    for name in catalogue.strangers(environment()):
        note(f"{name} is in the environment, but there is no such setting.")
