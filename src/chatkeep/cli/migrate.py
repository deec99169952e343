"""`chatkeep migrate`: bring the database's schema up to date, apart from starting a server."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chatkeep import __version__
from chatkeep.cli.options import Data
from chatkeep.cli.words import fail, note

if TYPE_CHECKING:
    from chatkeep.services.context import System
    from chatkeep.store.nodes import Node


def migrate(
    data: Data = None,
    new_secrets: Annotated[
        bool,
        typer.Option(
            "--new-secrets", help="The secrets of this node are the ones from now on; the old ones are lost."
        ),
    ] = False,
    post: Annotated[
        bool, typer.Option("--post", help="Also the steps that servers of an older version would not stand.")
    ] = False,
) -> None:
    """Take the steps that this version's schema needs; `serve` takes all but the post steps by itself."""
    from chatkeep.cli.office import at_system
    from chatkeep.cli.settings import read_settings
    from chatkeep.domain.errors import ChatkeepError
    from chatkeep.services import nodes as verbs

    settings = read_settings(data=data)

    async def errand(system: System) -> list[Node]:
        if new_secrets and system.store.is_shared:
            await verbs.agree_on_secrets(system, are_new=True)
        return await verbs.living(system)

    older = [
        each for each in at_system(errand, data) if each.version != __version__
    ]  # and the other steps are taken
    if settings.database_url is None:
        note("The schema is up to date.")
        return
    from chatkeep.store import postgres_migrate

    if post and older:
        names = ", ".join(f"{each.name} ({each.version})" for each in older)
        fail(f"Servers of another version still live: {names}. Stop them first.")
    try:
        left = postgres_migrate.migrate(
            settings.database_url.get_secret_value(), with_post=post
        ).post_steps_left
    except ChatkeepError as error:
        fail(str(error))
    note(
        "The schema is up to date."
        if not left
        else f"Post steps are left: {', '.join(map(str, left))} (--post)."
    )
