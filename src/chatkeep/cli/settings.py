"""Settings for commands: options first, then the environment, then defaults; mistakes end the command with a sentence."""

from __future__ import annotations

from pathlib import Path

import typer
from pydantic import ValidationError

from chatkeep.config import Settings


def read_settings(*, host: str | None = None, port: int | None = None, data: Path | None = None) -> Settings:
    """The effective settings. Exits with code 2 and one line for each mistake."""
    said = {"host": host, "port": port, "data": data}
    try:
        return Settings(**{name: value for name, value in said.items() if value is not None})
    except ValidationError as error:
        for fault in error.errors():
            name = "CHATKEEP_" + "__".join(str(part) for part in fault["loc"]).upper()
            typer.echo(f"{name}: {fault['msg']}", err=True)
        raise typer.Exit(2) from None
