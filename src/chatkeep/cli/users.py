"""`chatkeep users`: the people and services of an organisation, on the data folder."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from chatkeep.cli.options import Data, Org
from chatkeep.cli.words import note, show
from chatkeep.domain.principal import Account, Role
from chatkeep.domain.text import iso_z

if TYPE_CHECKING:
    from chatkeep.cli.office import Office

app = typer.Typer(no_args_is_help=True, help="People and services of an organisation.")
User = Annotated[str, typer.Argument(help="Id, e-mail address or name.", metavar="USER")]


@app.command("list")
def list_users(org: Org = None, data: Data = None) -> None:
    """List all people and services of an organisation."""
    from chatkeep.cli.office import at_office

    async def errand(office: Office) -> tuple[Account, ...]:
        return office.accounts

    accounts = at_office(errand, data, org)
    show(("id", "name", "e-mail", "kind", "role", "state", "created"), map(_row, accounts))


@app.command("create")
def create(
    email: Annotated[str, typer.Argument(help="E-mail address to sign in with.", metavar="EMAIL")],
    name: Annotated[
        str | None, typer.Option(help="What the person is called; the address when not said.")
    ] = None,
    role: Annotated[Role, typer.Option(help="What the person may do.")] = "member",
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read the password from standard input instead of asking."),
    ] = False,
    org: Org = None,
    data: Data = None,
) -> None:
    """Make a person who signs in with e-mail address and password. Prints the new id."""
    password = _password(is_from_stdin=password_stdin)
    from chatkeep.cli.office import at_office
    from chatkeep.services import people

    async def errand(office: Office) -> Account:
        return await people.create(office.ctx, people.SignUp(name or email, email, password), role)

    made = at_office(errand, data, org)
    typer.echo(made.id)
    note(f"{made.email} may sign in as {made.role}.")


@app.command("disable")
def disable(user: User, org: Org = None, data: Data = None) -> None:
    """Shut an account out at once, with its sessions and keys, on running servers too."""
    note(f"{_set_disabled(user, org, data, is_disabled=True)} is disabled.")


@app.command("enable")
def enable(user: User, org: Org = None, data: Data = None) -> None:
    """Let a disabled account in again; its keys work again, its sessions do not."""
    note(f"{_set_disabled(user, org, data, is_disabled=False)} is enabled.")


def _set_disabled(user: str, org: Org, data: Data, *, is_disabled: bool) -> str:
    from chatkeep.cli.office import at_office
    from chatkeep.services import people

    async def errand(office: Office) -> str:
        account = office.account(user)
        await people.set_disabled(office.ctx, account.id, is_disabled=is_disabled)
        return account.name

    return at_office(errand, data, org)


def _password(*, is_from_stdin: bool) -> str:
    if is_from_stdin:
        # What is not UTF-8 becomes lone surrogates, which the service refuses with a sentence.
        return sys.stdin.buffer.readline().decode(errors="surrogateescape").rstrip("\r\n")
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask for a password", param_hint="--password-stdin")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


def _row(account: Account) -> tuple[str | None, ...]:
    state = "active" if account.disabled_at is None else "disabled"
    made = iso_z(account.created_at)
    return account.id, account.name, account.email, account.kind, account.role, state, made
