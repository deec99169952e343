"""Rows of API keys and client secrets as domain values; secrets only as keyed hashes."""

from __future__ import annotations

from dataclasses import dataclass

from chatkeep.domain.ids import CredentialId, OrganisationId, PrincipalId
from chatkeep.domain.principal import (
    Credential,
    CredentialKind,
    Principal,
    PrincipalKind,
    Role,
    effective_scopes,
)
from chatkeep.store.driver import Row, Transaction
from chatkeep.store.rows import read_json, write_json


@dataclass(frozen=True, slots=True)
class Holder:
    """A credential together with what its principal and organisation are today. Times in microseconds UTC."""

    organisation_id: OrganisationId
    credential_id: CredentialId
    principal_id: PrincipalId
    credential_kind: CredentialKind
    scopes: str
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None
    kind: PrincipalKind
    role: Role
    name: str
    disabled_at: int | None
    suspended_at: int | None

    def is_valid(self, now_us: int) -> bool:
        """Not expired, not revoked, and neither the principal nor the organisation is shut out."""
        return (
            self.revoked_at is None
            and self.disabled_at is None
            and self.suspended_at is None
            and (self.expires_at is None or self.expires_at > now_us)
        )

    def principal(self) -> Principal:
        """The caller this credential stands for."""
        return Principal(
            organisation_id=self.organisation_id,
            id=self.principal_id,
            kind=self.kind,
            role=self.role,
            name=self.name,
            scopes=effective_scopes(self.role, () if self.scopes == "[]" else tuple(read_json(self.scopes))),
            credential_kind=self.credential_kind,
            credential_id=self.credential_id,
        )


async def insert(tx: Transaction, credential: Credential, *, secret_hash: bytes, pepper_version: int) -> None:
    """Write a new credential."""
    await tx.run(
        "credential_insert",
        id=credential.id,
        principal_id=credential.principal_id,
        kind=credential.kind,
        name=credential.name,
        display=credential.display,
        secret_hash=secret_hash,
        pepper_version=pepper_version,
        scopes=write_json(credential.scopes),
        created_at=credential.created_at,
        expires_at=credential.expires_at,
    )


async def get(tx: Transaction, credential_id: CredentialId) -> Credential | None:
    """One credential of the organisation."""
    row = await tx.one("credential_get", id=credential_id)
    return None if row is None else _credential(row)


async def everything(tx: Transaction) -> list[Credential]:
    """All credentials of the organisation, oldest first."""
    return [_credential(row) for row in await tx.all("credentials_all")]


async def revoke(tx: Transaction, credential_id: CredentialId, *, now: int) -> bool:
    """Revoke; whether there was one to revoke."""
    return await tx.run("credential_revoke", id=credential_id, revoked_at=now) > 0


async def used(tx: Transaction, credential_id: CredentialId, *, now: int) -> None:
    """Note when the credential was last used."""
    await tx.run("credential_used", id=credential_id, last_used_at=now)


async def holder_by_secret(tx: Transaction, secret_hash: bytes) -> Holder | None:
    """Who holds the secret with this keyed hash (system work)."""
    row = await tx.one("system_credential_by_secret", secret_hash=secret_hash)
    return None if row is None else Holder(*row)


async def holder_by_id(tx: Transaction, credential_id: CredentialId) -> Holder | None:
    """Who holds the credential with this id (system work)."""
    row = await tx.one("system_credential_by_id", id=credential_id)
    return None if row is None else Holder(*row)


def _credential(row: Row) -> Credential:
    *head, scopes, created_at, expires_at, revoked_at, last_used_at = row
    return Credential(*(*head, tuple(read_json(scopes)), created_at, expires_at, revoked_at, last_used_at))
