"""Rows of people and services as domain values."""

from __future__ import annotations

from dataclasses import dataclass

from chatkeep.domain.ids import OrganisationId, PrincipalId
from chatkeep.domain.principal import Account, PrincipalKind, Role
from chatkeep.store.driver import Transaction


@dataclass(frozen=True, slots=True)
class Standing:
    """What a session token's person is today. Times in microseconds UTC."""

    organisation_id: OrganisationId
    principal_id: PrincipalId
    kind: PrincipalKind
    role: Role
    name: str
    session_stamp: str
    disabled_at: int | None
    suspended_at: int | None


async def insert(tx: Transaction, account: Account) -> None:
    """Write a new account. Raises `Conflict` when e-mail or external id is taken."""
    await tx.run(
        "principal_insert",
        id=account.id,
        kind=account.kind,
        role=account.role,
        name=account.name,
        email=account.email,
        external_id=account.external_id,
        profile_image_url=account.profile_image_url,
        password_hash=account.password_hash,
        session_stamp=account.session_stamp,
        created_at=account.created_at,
    )


async def get(tx: Transaction, principal_id: PrincipalId) -> Account | None:
    """One account of the organisation."""
    row = await tx.one("principal_get", id=principal_id)
    return None if row is None else Account(*row)


async def get_by_external_id(tx: Transaction, external_id: str) -> Account | None:
    """The account a tenant knows under its own id."""
    row = await tx.one("principal_get_by_external_id", external_id=external_id)
    return None if row is None else Account(*row)


async def everyone(tx: Transaction) -> list[Account]:
    """All accounts of the organisation, oldest first."""
    return [Account(*row) for row in await tx.all("principals_all")]


async def find_by_email(tx: Transaction, email: str) -> Account | None:
    """The account that signs in with this address, in any organisation (system work)."""
    row = await tx.one("system_principal_get_by_email", email=email)
    return None if row is None else Account(*row)


async def count_with_email(tx: Transaction) -> int:
    """How many people of the organisation can sign in."""
    row = await tx.one("principals_with_email_count")
    assert row is not None
    return int(row[0])


async def standing(
    tx: Transaction, organisation_id: OrganisationId, principal_id: PrincipalId
) -> Standing | None:
    """What the person named by a session token is today (system work)."""
    row = await tx.one("system_principal_get", of_organisation=organisation_id, id=principal_id)
    return None if row is None else Standing(*row)


async def set_role(tx: Transaction, principal_id: PrincipalId, role: Role) -> bool:
    """Change the role; whether the account exists."""
    return await tx.run("principal_set_role", id=principal_id, role=role) > 0


async def set_disabled(
    tx: Transaction, principal_id: PrincipalId, *, disabled_at: int | None, session_stamp: str
) -> bool:
    """Disable or, with None, enable; a new stamp ends all sessions. Whether the account exists."""
    values = {"id": principal_id, "disabled_at": disabled_at, "session_stamp": session_stamp}
    return await tx.run("principal_set_disabled", **values) > 0
