"""`chatkeep orgs`: the organisations of a server, on the data folder."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chatkeep.cli.options import Data
from chatkeep.cli.words import note, show
from chatkeep.domain.principal import Organisation
from chatkeep.domain.text import iso_z

if TYPE_CHECKING:
    from chatkeep.services.context import System
    from chatkeep.services.organisations import NewOrganisation

app = typer.Typer(no_args_is_help=True, help="Organisations: tenants that see nothing of one another.")
Which = Annotated[str, typer.Argument(help="Id or name.", metavar="ORG")]


@app.command("list")
def list_orgs(data: Data = None) -> None:
    """List all organisations, oldest first; the first one is what other commands mean when no --org is said."""
    from chatkeep.cli.office import at_system
    from chatkeep.services import organisations

    show(("id", "name", "state", "created"), map(_row, at_system(organisations.list_organisations, data)))


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is called.", metavar="NAME")], data: Data = None
) -> None:
    """Make an organisation with an owner and an agent. Prints the owner's key, once."""
    from chatkeep.cli.office import at_system
    from chatkeep.services import organisations

    async def errand(system: System) -> NewOrganisation:
        return await organisations.create(system, name)

    made = at_system(errand, data)
    typer.echo(made.key)
    note(f"Organisation {made.organisation.id}. Its owner's key is shown this once and stored nowhere.")
    note("It has no models yet: chatkeep models sync, or a restart of the server, finds them.")


@app.command("suspend")
def suspend(org: Which, data: Data = None) -> None:
    """Shut all people and keys of an organisation out at once, on running servers too. Nothing is deleted."""
    note(f"{_set_suspended(org, data, is_suspended=True)} is suspended.")


@app.command("resume")
def resume(org: Which, data: Data = None) -> None:
    """Let a suspended organisation in again."""
    note(f"{_set_suspended(org, data, is_suspended=False)} is active.")


def _set_suspended(org: str, data: Data, *, is_suspended: bool) -> str:
    from chatkeep.cli.office import at_system, find_organisation
    from chatkeep.services import organisations

    async def errand(system: System) -> str:
        found = await find_organisation(system, org)
        await organisations.set_suspended(system, found.id, is_suspended=is_suspended)
        return found.name

    return at_system(errand, data)


def _row(organisation: Organisation) -> tuple[str, ...]:
    state = "active" if organisation.suspended_at is None else "suspended"
    return organisation.id, organisation.name, state, iso_z(organisation.created_at)
