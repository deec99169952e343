"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None, typer.Option(help="Folder of the database and the secrets; else CHATKEEP_DATA, else data.")
]
Host = Annotated[str | None, typer.Option(help="Address to listen on; else CHATKEEP_HOST, else 127.0.0.1.")]
Port = Annotated[
    int | None, typer.Option(help="Port to listen on, 0 for any free one; else CHATKEEP_PORT, else 8000.")
]
Org = Annotated[str | None, typer.Option(help="Organisation, by id or name; the first one when not said.")]
