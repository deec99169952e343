"""People and services of an organisation: sign-up, sign-in, accounts made by an administrator or a tenant's backend."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import cache

from email_validator import EmailNotValidError, validate_email
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from chatkeep.domain.errors import (
    AlreadyExists,
    Conflict,
    InvalidField,
    NotAllowed,
    NotFound,
    SignUpClosed,
    WrongPassword,
)
from chatkeep.domain.ids import OrganisationId, PrincipalId
from chatkeep.domain.principal import Account, PrincipalKind, Role
from chatkeep.domain.text import check_text
from chatkeep.services import throttle
from chatkeep.services.context import Context, System
from chatkeep.services.tokens import IssuedToken, issue_session
from chatkeep.store import organisations, principals
from chatkeep.store.driver import Transaction

PASSWORD_CHARACTERS_MIN = 8
PASSWORD_BYTES_MAX = 1024
_hashing = asyncio.Semaphore(2)  # Each hash takes about a quarter of a second of a core and 64 MiB.


@dataclass(frozen=True, slots=True)
class SignUp:
    """What a person says to get an account. The password in clear, 8 characters to 1,024 bytes."""

    name: str
    email: str
    password: str
    profile_image_url: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in person and the token that proves it."""

    account: Account
    issued: IssuedToken


async def sign_up(system: System, wanted: SignUp) -> Session:
    """Make a person of the server's first organisation: the first an owner, which closes sign-up; later ones members.

    Raises `SignUpClosed`, `AlreadyExists`, `InvalidField`.
    """
    email = _checked(system, wanted)
    home = (await system.store.read(None, organisations.everyone))[0]

    async def is_first_of_all(tx: Transaction) -> bool:
        is_first = await principals.count_with_email(tx) == 0
        if not is_first and not system.policy.is_sign_up_open:
            raise SignUpClosed()
        return is_first

    await system.store.read(home.id, is_first_of_all)  # A hash is dear: none is made for those who may not.
    secret = await _hashed(wanted.password)

    async def body(tx: Transaction) -> Account:
        await organisations.lock(tx)
        is_first = await is_first_of_all(tx)
        made = _account(system, home.id, "person", "owner" if is_first else "member", wanted.name)
        made = replace(made, email=email, password_hash=secret, profile_image_url=wanted.profile_image_url)
        await _insert(tx, made)
        return made

    account = await system.store.write(home.id, body)
    return Session(account, issue_session(system, account))


async def sign_in(system: System, email: str, password: str, *, address: str) -> Session:
    """A new session. Raises `WrongPassword`, and `RateLimited` after too many failures of the name or the address."""
    name = email.strip().lower()
    async with throttle.attempt(system, name, address):
        account = await _proven(system, name, password)
    return Session(account, issue_session(system, account))


async def _proven(system: System, email: str, password: str) -> Account:
    async def find(tx: Transaction) -> Account | None:
        account = await principals.find_by_email(tx, email)
        home = None if account is None else await organisations.find(tx, account.organisation_id)
        is_let_in = account is not None and account.disabled_at is None
        return account if is_let_in and home is not None and home.suspended_at is None else None

    account = await system.store.read(None, find)
    is_right = await _verified(password, None if account is None else account.password_hash)
    if account is None or not is_right:
        raise WrongPassword()
    return account


async def create(ctx: Context, wanted: SignUp, role: Role) -> Account:
    """Make a person of the caller's organisation. Raises `MissingScope`, `AlreadyExists`, `InvalidField`."""
    ctx.principal.require("org:admin")
    email = _checked(ctx.system, wanted)
    secret = await _hashed(wanted.password)
    account = _account(ctx.system, ctx.principal.organisation_id, "person", role, wanted.name)
    account = replace(account, email=email, password_hash=secret, profile_image_url=wanted.profile_image_url)

    async def body(tx: Transaction) -> Account:
        await _insert(tx, account)
        return account

    return await ctx.write(body)


async def create_service(ctx: Context, name: str, role: Role) -> Account:
    """Make a service of the caller's organisation: it has keys and no password."""
    ctx.principal.require("org:admin")
    check_text("name", name, characters_max=ctx.system.limits.name_characters_max)
    account = _account(ctx.system, ctx.principal.organisation_id, "service", role, name)

    async def body(tx: Transaction) -> Account:
        await _insert(tx, account)
        return account

    return await ctx.write(body)


async def get(ctx: Context, principal_id: PrincipalId) -> Account:
    """One account of the caller's organisation. Raises `NotFound`."""

    async def body(tx: Transaction) -> Account:
        account = await principals.get(tx, principal_id)
        if account is None:
            raise NotFound("User")
        return account

    return await ctx.peek(body)


async def list_people(ctx: Context) -> list[Account]:
    """All accounts of the caller's organisation."""
    ctx.principal.require("org:admin")
    return await ctx.read(principals.everyone)


async def set_disabled(ctx: Context, principal_id: PrincipalId, *, is_disabled: bool) -> None:
    """Shut an account out at once, sessions and keys included, or let it in again. Raises `NotFound`."""
    ctx.principal.require("org:admin")

    async def body(tx: Transaction) -> None:
        disabled_at = ctx.now_us() if is_disabled else None
        stamp = ctx.system.entropy.secret(22)
        if not await principals.set_disabled(tx, principal_id, disabled_at=disabled_at, session_stamp=stamp):
            raise NotFound("User")

    await ctx.write(body)


async def vouched(tx: Transaction, ctx: Context, external_id: str) -> tuple[Account, bool]:
    """The account the tenant's backend vouches for under its own id, made silently when new; whether it was made."""
    found = await principals.get_by_external_id(tx, external_id)
    if found is None:
        await organisations.lock(tx)
        found = await principals.get_by_external_id(tx, external_id)
    if found is not None:
        return found, False
    check_text("user_id", external_id, characters_max=ctx.system.limits.name_characters_max)
    account = _account(ctx.system, ctx.principal.organisation_id, "person", "member", external_id)
    account = replace(account, external_id=external_id)
    await _insert(tx, account)
    return account, True


async def known(tx: Transaction, ctx: Context, user_id: str) -> Account | None:
    """Whom a caller means by `user_id`, if there is one: itself by its own id or external id, and for administrators
    anybody. Raises `NotAllowed` for everybody else who names another person, `InvalidField` for what is no id.
    """
    check_text("user_id", user_id, characters_max=ctx.system.limits.name_characters_max)
    caller = await principals.get(tx, ctx.principal.id)
    if caller is not None and user_id in (caller.id, caller.external_id):
        return caller
    if not ctx.principal.is_administrator:
        raise NotAllowed("Only an administrator's key may act for other users.")
    found = await principals.get(tx, PrincipalId(user_id))
    return found if found is not None else await principals.get_by_external_id(tx, user_id)


async def meant(tx: Transaction, ctx: Context, user_id: str) -> tuple[Account, bool]:
    """`known`, made when new; whether it was made. Raises `NotAllowed`, `InvalidField`."""
    found = await known(tx, ctx, user_id)
    return await vouched(tx, ctx, user_id) if found is None else (found, False)


async def meet(ctx: Context, user_id: str) -> tuple[Account, bool]:
    """`meant` in a transaction of its own, which writes only if somebody is new. Raises also `MissingScope` then."""

    async def look(tx: Transaction) -> Account | None:
        return await known(tx, ctx, user_id)

    async def make(tx: Transaction) -> tuple[Account, bool]:
        return await meant(tx, ctx, user_id)

    found = await ctx.peek(look)
    if found is not None:
        return found, False
    ctx.principal.require("chat:write")
    return await ctx.write(make)


async def _insert(tx: Transaction, account: Account) -> None:
    try:
        await principals.insert(tx, account)
    except Conflict:
        raise AlreadyExists("An account with this e-mail address exists already.") from None


def _account(
    system: System, organisation_id: OrganisationId, kind: PrincipalKind, role: Role, name: str
) -> Account:
    return Account(
        organisation_id=organisation_id,
        id=PrincipalId(system.entropy.uuid7()),
        kind=kind,
        role=role,
        name=name,
        email=None,
        external_id=None,
        profile_image_url="",
        password_hash=None,
        session_stamp=system.entropy.secret(22),
        created_at=system.clock.now_us(),
        disabled_at=None,
    )


def _checked(system: System, wanted: SignUp) -> str:
    limits = system.limits
    check_text("name", wanted.name, characters_max=limits.name_characters_max)
    check_text("profile_image_url", wanted.profile_image_url, bytes_max=limits.metadata_bytes_max)
    _check_password(wanted.password)
    try:
        found = validate_email(wanted.email, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise InvalidField("email", "is not an e-mail address") from None
    return found.normalized.lower()


def _check_password(password: str) -> None:
    check_text("password", password, bytes_max=PASSWORD_BYTES_MAX)
    if len(password) < PASSWORD_CHARACTERS_MIN:
        raise InvalidField("password", f"must have at least {PASSWORD_CHARACTERS_MIN} characters")


@cache
def _hasher() -> PasswordHash:
    return PasswordHash((Argon2Hasher(),))


@cache
def _decoy() -> str:
    # Verified when there is no account, so that both answers take the same time.
    return _hasher().hash("nobody's password")


async def _hashed(password: str) -> str:
    async with _hashing:
        return await asyncio.to_thread(_hasher().hash, password)


async def _verified(password: str, stored: str | None) -> bool:
    if len(password.encode(errors="replace")) > PASSWORD_BYTES_MAX:
        return False

    def verify() -> bool:
        return _hasher().verify(password, stored or _decoy()) and stored is not None

    async with _hashing:
        return await asyncio.to_thread(verify)
