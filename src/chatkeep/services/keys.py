"""API keys and client credentials: create (the secret is shown once), list, revoke."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatkeep.domain.errors import InvalidField, NotFound
from chatkeep.domain.ids import CredentialId, PrincipalId
from chatkeep.domain.principal import Credential, CredentialKind, check_scopes
from chatkeep.domain.text import US, check_text
from chatkeep.services.context import Context
from chatkeep.services.credentials import CLIENT_SECRET_PREFIX, KEY_PREFIX, new_secret
from chatkeep.services.keyring import PEPPER_VERSION
from chatkeep.store import credentials, principals
from chatkeep.store.driver import Transaction

NOUN = "Key"
_DISPLAY_CHARACTERS = 8


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a new credential shall be. No scopes means all of its holder's role; `expires_in_s` None means never."""

    principal_id: PrincipalId
    name: str
    kind: CredentialKind = "api_key"
    scopes: tuple[str, ...] = ()
    expires_in_s: int | None = None


@dataclass(frozen=True, slots=True)
class ShownOnce:
    """A new credential with its secret, which is stored nowhere."""

    credential: Credential
    secret: str = field(repr=False)


async def create(ctx: Context, new: NewKey) -> ShownOnce:
    """Make a key for a principal of the caller's organisation; members may make keys only for themselves.

    Raises `MissingScope`, `InvalidField`, `NotFound` for an unknown holder. Scopes are never wider than the caller's.
    """
    if new.principal_id != ctx.principal.id:
        ctx.principal.require("org:admin")
    check_text("name", new.name, characters_max=ctx.system.limits.name_characters_max)
    for scope in check_scopes(new.scopes):
        ctx.principal.require(scope)
    if new.expires_in_s is not None and new.expires_in_s <= 0:
        raise InvalidField("expires_in_s", "must be positive")
    now = ctx.now_us()
    secret = new_secret(KEY_PREFIX if new.kind == "api_key" else CLIENT_SECRET_PREFIX, ctx.system.entropy)
    credential = Credential(
        organisation_id=ctx.principal.organisation_id,
        id=CredentialId(ctx.system.entropy.uuid7()),
        principal_id=new.principal_id,
        kind=new.kind,
        name=new.name,
        display=secret[:_DISPLAY_CHARACTERS],
        scopes=new.scopes or _own_scopes(ctx),
        created_at=now,
        expires_at=None if new.expires_in_s is None else now + new.expires_in_s * US,
        revoked_at=None,
        last_used_at=None,
    )

    async def body(tx: Transaction) -> ShownOnce:
        if await principals.get(tx, new.principal_id) is None:
            raise NotFound("User")
        digest = ctx.system.keyring.digest(secret)
        await credentials.insert(tx, credential, secret_hash=digest, pepper_version=PEPPER_VERSION)
        return ShownOnce(credential, secret)

    return await ctx.write(body)


async def list_keys(ctx: Context) -> list[Credential]:
    """All credentials of the organisation, without secrets."""
    ctx.principal.require("org:admin")
    return await ctx.read(credentials.everything)


async def revoke(ctx: Context, credential_id: CredentialId) -> None:
    """Stop a credential at once. Raises `NotFound` when there is none to revoke."""

    async def body(tx: Transaction) -> None:
        found = await credentials.get(tx, credential_id)
        if found is not None and found.principal_id != ctx.principal.id:
            ctx.principal.require("org:admin")
        if found is None or not await credentials.revoke(tx, credential_id, now=ctx.now_us()):
            raise NotFound(NOUN)

    await ctx.write(body)


def _own_scopes(ctx: Context) -> tuple[str, ...]:
    # A key made with a narrowed key must not be wider than that one; empty means "all of the role".
    return tuple(sorted(ctx.principal.scopes)) if ctx.principal.credential_id is not None else ()
