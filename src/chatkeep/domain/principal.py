"""Who calls: organisations, people and services, their roles and scopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from chatkeep.domain.errors import InvalidField, MissingScope
from chatkeep.domain.ids import CredentialId, OrganisationId, PrincipalId

Role = Literal["owner", "admin", "member", "read-only"]
PrincipalKind = Literal["person", "service"]
CredentialKind = Literal["api_key", "client", "session"]
Origin = Literal["api", "m2m", "connector"]

ROLES: tuple[Role, ...] = get_args(Role)
SCOPES = (
    "chat:read",
    "chat:write",
    "chat:invoke",
    "models:read",
    "models:write",
    "org:admin",
)
_READS = frozenset({"chat:read", "models:read"})
_WORKS = _READS | {"chat:write", "chat:invoke"}
ROLE_SCOPES: dict[Role, frozenset[str]] = {
    "owner": frozenset(SCOPES),
    "admin": frozenset(SCOPES),
    "member": _WORKS,
    "read-only": _READS,
}


@dataclass(frozen=True, slots=True)
class Organisation:
    """A tenant. Nothing of one organisation can be seen from another."""

    id: OrganisationId
    name: str
    created_at: int
    suspended_at: int | None


@dataclass(frozen=True, slots=True)
class Account:
    """A person or a service of one organisation as stored; `email` only for people who sign in."""

    organisation_id: OrganisationId
    id: PrincipalId
    kind: PrincipalKind
    role: Role
    name: str
    email: str | None
    external_id: str | None
    profile_image_url: str
    password_hash: str | None
    session_stamp: str
    created_at: int
    disabled_at: int | None


@dataclass(frozen=True, slots=True)
class Credential:
    """An API key or client secret as stored: never the secret itself. Times in microseconds UTC."""

    organisation_id: OrganisationId
    id: CredentialId
    principal_id: PrincipalId
    kind: CredentialKind
    name: str
    display: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller of one request: the proof of tenancy that every service asks for.

    Until `known_until_us` (microseconds UTC) nothing but a commit makes the same credential mean anything else, or asks
    for work on its account; 0 where nobody has said so.
    """

    organisation_id: OrganisationId
    id: PrincipalId
    kind: PrincipalKind
    role: Role
    name: str
    scopes: frozenset[str]
    credential_kind: CredentialKind
    credential_id: CredentialId | None = None
    known_until_us: int = 0

    @property
    def is_administrator(self) -> bool:
        """Owners and admins see and manage everything in their organisation."""
        return self.role in ("owner", "admin")

    @property
    def origin(self) -> Origin:
        """How this caller's chats are marked: `m2m` for client-credential tokens, else `api`."""
        return "m2m" if self.credential_kind == "client" else "api"

    def require(self, scope: str) -> None:
        """Raise `MissingScope` unless both role and credential grant `scope`."""
        if scope not in self.scopes:
            raise MissingScope(scope)


def effective_scopes(role: Role, granted: tuple[str, ...]) -> frozenset[str]:
    """What a credential with `granted` scopes (none given means all) may do in the hands of `role`."""
    return ROLE_SCOPES[role] & frozenset(granted) if granted else ROLE_SCOPES[role]


def check_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes, or raise `InvalidField` naming the first unknown one."""
    for scope in scopes:
        if scope not in SCOPES:
            raise InvalidField("scopes", f"unknown scope {scope!r}; known are {', '.join(SCOPES)}")
    return scopes
