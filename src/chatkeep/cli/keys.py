"""`chatkeep keys`: API keys and client credentials of an organisation, made, listed and revoked on the data folder."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chatkeep.cli.options import Data, Org
from chatkeep.cli.words import note, show
from chatkeep.domain.errors import AlreadyExists, ChatkeepError, InvalidField
from chatkeep.domain.ids import CredentialId
from chatkeep.domain.principal import Account, Credential, Role, check_scopes
from chatkeep.domain.text import iso_z_or_none

if TYPE_CHECKING:
    from chatkeep.cli.office import Office
    from chatkeep.services.keys import ShownOnce

DAY_S = 24 * 3600
DAYS_MAX = 36_500

app = typer.Typer(no_args_is_help=True, help="API keys and client credentials.")


@app.command("create")
def create(
    org: Org = None,
    user: Annotated[
        str | None, typer.Option(help="Whose key: id, e-mail address or name; the owner's when not said.")
    ] = None,
    service: Annotated[
        str | None, typer.Option(help="Make a service of this name and give it the key.")
    ] = None,
    role: Annotated[Role | None, typer.Option(help="Role of the new service; member when not said.")] = None,
    name: Annotated[str | None, typer.Option(help="What the key is called in lists.")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What it may do; repeatable. All of the role when not said.", metavar="SCOPE"),
    ] = None,
    expires_in_days: Annotated[
        int | None,
        typer.Option(min=1, max=DAYS_MAX, help="Days until it stops; never when not said.", metavar="DAYS"),
    ] = None,
    client: Annotated[
        bool, typer.Option("--client", help="Client credentials (id and secret) for access tokens.")
    ] = False,
    data: Data = None,
) -> None:
    """Make a key. It is printed once, alone on standard output, and stored nowhere."""
    if service is not None and user is not None:
        raise typer.BadParameter("say either --user or --service", param_hint="--service")
    if service is None and role is not None:
        raise typer.BadParameter("goes with --service only", param_hint="--role")
    scopes = _scopes(scope or [])
    from chatkeep.cli.office import at_office
    from chatkeep.domain.text import check_text
    from chatkeep.services import keys

    async def errand(office: Office) -> ShownOnce:
        # Checked first, so that no service is left behind by a key that is refused.
        check_text("name", title, characters_max=office.ctx.system.limits.name_characters_max)
        if service is not None:
            holder = await _new_service(office, service, role or "member")
        else:
            holder = _holder(office, user)
        seconds = None if expires_in_days is None else expires_in_days * DAY_S
        wanted = keys.NewKey(holder.id, title, "client" if client else "api_key", scopes, seconds)
        return await keys.create(office.ctx, wanted)

    title = name or "made by chatkeep keys create"
    made = at_office(errand, data, org)
    if client:
        typer.echo(f"client_id={made.credential.id}\nclient_secret={made.secret}")
    else:
        typer.echo(made.secret)
    note(f"Key {made.credential.id}. The secret is shown this once and stored nowhere.")


@app.command("list")
def list_keys(org: Org = None, data: Data = None) -> None:
    """List all keys of an organisation, without their secrets."""
    from chatkeep.cli.office import at_office
    from chatkeep.services import keys

    async def errand(office: Office) -> list[tuple[str | None, ...]]:
        names = {each.id: each.name for each in office.accounts}
        now_us = office.ctx.now_us()
        return [_row(each, names[each.principal_id], now_us) for each in await keys.list_keys(office.ctx)]

    columns = ("id", "name", "kind", "begins", "holder", "scopes", "state", "created", "expires", "last used")
    show(columns, at_office(errand, data, org))


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="Id of the key, as `keys list` prints it.", metavar="ID")],
    org: Org = None,
    data: Data = None,
) -> None:
    """Stop a key at once, on running servers too."""
    from chatkeep.cli.office import at_office
    from chatkeep.services import keys

    async def errand(office: Office) -> None:
        await keys.revoke(office.ctx, CredentialId(key))

    at_office(errand, data, org)
    note(f"Key {key} is revoked.")


def _scopes(said: list[str]) -> tuple[str, ...]:
    try:
        return check_scopes(tuple(said))
    except InvalidField as fault:
        raise typer.BadParameter(fault.message, param_hint="--scope") from None


def _holder(office: Office, said: str | None) -> Account:
    if said is not None:
        return office.account(said)
    if office.owner is None:
        raise ChatkeepError("The organisation has no owner who is not disabled; say --user or --service.")
    return office.owner


async def _new_service(office: Office, name: str, role: Role) -> Account:
    from chatkeep.services import people

    known = [each for each in office.accounts if each.kind == "service" and each.name == name]
    if known:
        raise AlreadyExists(
            f"There is a service {name!r} already; --user {known[0].id} gives it another key."
        )
    return await people.create_service(office.ctx, name, role)


def _row(key: Credential, holder: str, now_us: int) -> tuple[str | None, ...]:
    return (
        key.id,
        key.name,
        key.kind,
        key.display,
        holder,
        " ".join(key.scopes) or "all",
        _state(key, now_us),
        iso_z_or_none(key.created_at),
        iso_z_or_none(key.expires_at),
        iso_z_or_none(key.last_used_at),
    )


def _state(key: Credential, now_us: int) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now_us else "valid"
