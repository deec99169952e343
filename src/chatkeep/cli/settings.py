"""Settings for commands: options first, then the environment, then defaults; a mistake ends the command in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from chatkeep.cli.words import note
from chatkeep.config import Settings


def read_settings(*, host: str | None = None, port: int | None = None, data: Path | None = None) -> Settings:
    """The effective settings. Exits with code 2 and one line for each mistake."""
    options = {"host": host, "port": port, "data": data}
    said: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**said)
    except ValidationError as error:
        for fault in error.errors():
            note(f"{_name(fault['loc'], said)}: {fault['msg']}")
    except SettingsError as error:
        note(f"The environment cannot be read: {error}")
    raise typer.Exit(2)


def _name(place: tuple[int | str, ...], said: dict[str, Any]) -> str:
    if place[0] in said:
        return f"--{place[0]}"
    name = "__".join(part for part in place if isinstance(part, str)).upper()  # a number is a place in a list
    return name if name.startswith("CHATKEEP_") else f"CHATKEEP_{name}"
