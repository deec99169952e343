"""The operator's desk: whoever holds the data folder may do everything, for any organisation, without a server.

Commands hand in an errand; it runs on the opened system, which is closed again whatever happens. A server may work on
the same folder meanwhile. Importing this takes long, as it brings the whole wiring: commands import it when called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from chatkeep import wiring
from chatkeep.cli.settings import read_settings
from chatkeep.cli.words import fail
from chatkeep.domain.errors import ChatkeepError, Invalid, NotFound
from chatkeep.domain.ids import PrincipalId
from chatkeep.domain.principal import Account, Organisation
from chatkeep.services import organisations, people
from chatkeep.services.context import Context, System
from chatkeep.services.tokens import issue_session

T = TypeVar("T")
Named = TypeVar("Named", Account, Organisation)
_NOBODY = PrincipalId("operator")


@dataclass(frozen=True, slots=True)
class Office:
    """One organisation as its operator sees it. `owner`: its oldest owner who is not disabled, if there is one."""

    ctx: Context
    organisation: Organisation
    accounts: tuple[Account, ...]

    @property
    def owner(self) -> Account | None:
        """The oldest person who owns the organisation and is not disabled."""
        mine = (each for each in self.accounts if each.role == "owner" and each.kind == "person")
        return next((each for each in mine if each.disabled_at is None), None)

    def account(self, said: str) -> Account:
        """The account with this id, e-mail address or name. Raises `NotFound`, and `Invalid` for a name of several."""
        exact = [each for each in self.accounts if said == each.id or said.lower() == each.email]
        return _only(exact or [each for each in self.accounts if said == each.name], said, "User")


def at_system(errand: Callable[[System], Awaitable[T]], data: Path | None, *, refusal_code: int = 1) -> T:
    """What the errand brings from the whole system. Ends the command with one line for anything that goes wrong."""
    settings = read_settings(data=data)
    folder = settings.data.expanduser()
    try:
        if settings.database_url is None and not (folder / wiring.DATABASE).is_file():
            said = f"There is no database in {folder}. `chatkeep serve` makes one; --data says where it is."
            fail(said, code=refusal_code)
        system = wiring.make_system(settings)
        return asyncio.run(_run(errand, system))
    except ChatkeepError as error:
        fail(str(error), code=refusal_code)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        fail(f"The data folder {folder} cannot be used: {reason}.", code=refusal_code)


def at_office(errand: Callable[[Office], Awaitable[T]], data: Path | None, organisation: str | None) -> T:
    """What the errand brings from one organisation, given by id or name; the server's first one when not given."""

    async def enter(system: System) -> T:
        chosen = await find_organisation(system, organisation)
        first = Context(system, organisations.operator(chosen.id, _NOBODY))
        office = Office(first, chosen, tuple(await people.list_people(first)))
        if office.owner is None:
            return await errand(office)
        ctx = Context(system, organisations.operator(chosen.id, office.owner.id))
        return await errand(Office(ctx, chosen, office.accounts))

    return at_system(enter, data)


async def find_organisation(system: System, said: str | None) -> Organisation:
    """The organisation with this id or name, the first one for None. Raises `NotFound` and `Invalid`."""
    known = await organisations.list_organisations(system)
    if said is None:
        return _only(known[:1], "first", "Organisation")
    exact = [each for each in known if said == each.id]
    return _only(exact or [each for each in known if said == each.name], said, "Organisation")


async def _run(errand: Callable[[System], Awaitable[T]], system: System) -> T:
    try:
        return await errand(system)
    finally:
        await wiring.close(system)


def _only(found: list[Named], said: str, noun: str) -> Named:
    if not found:
        raise NotFound(noun)
    if len(found) > 1:
        raise Invalid(f"{noun}: {len(found)} are called {said!r}; say the id.")
    return found[0]


TOKEN_S = 300


def owner_signer(data: Path | None) -> Callable[[], str]:
    """Makes session tokens of five minutes for the first organisation's owner. The data folder is closed by then."""

    async def errand(office: Office) -> Callable[[], str]:
        owner, system = office.owner, office.ctx.system
        if owner is None:
            raise NotFound("Owner")
        brief = replace(system, policy=replace(system.policy, session_s=TOKEN_S))
        return lambda: issue_session(brief, owner).token  # needs the keyring and the clock, and no store

    return at_office(errand, data, None)
