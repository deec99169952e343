"""`chatkeep sweep`: tidy up now what the server tidies up by itself, or see what that would be."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from chatkeep.cli.options import Data
from chatkeep.cli.words import show

if TYPE_CHECKING:
    from chatkeep.runtime.sweeper import Swept
    from chatkeep.services.context import System


def sweep(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what is due and leave it as it is.")
    ] = False,
    data: Data = None,
) -> None:
    """Delete what has expired, fold what is finished, forget old requests; a table of how many."""
    from chatkeep.cli.office import at_system
    from chatkeep.runtime import sweeper

    async def errand(system: System) -> Swept:
        return await sweeper.sweep(system, is_dry_run=dry_run)

    swept = asdict(at_system(errand, data))
    show(("what", "due" if dry_run else "done"), ((name, str(count)) for name, count in swept.items()))
