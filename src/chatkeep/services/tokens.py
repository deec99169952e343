"""Session tokens (HS256) for people who signed in, access tokens (RS256) for clients with credentials.

RFC 8725: the algorithm follows from the kind of token and never from the token itself; type, issuer, audience, expiry
and subject are all required.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, RSAKey
from joserfc.jws import extract_compact

from chatkeep.domain.errors import UnreadableToken
from chatkeep.domain.ids import CredentialId, OrganisationId, PrincipalId
from chatkeep.domain.principal import Account
from chatkeep.domain.text import US
from chatkeep.services.context import System
from chatkeep.store.credentials import Holder

AUDIENCE = "chatkeep"
SESSION_TYPE = "session+jwt"
ACCESS_TYPE = "at+jwt"
TOKEN_CHARACTERS_MAX = 4096
LEEWAY_S = 30


@dataclass(frozen=True, slots=True)
class SessionClaims:
    """Whose session it is; `stamp` must still be the person's. It ends at `expires_at_s`, seconds since the epoch."""

    organisation_id: OrganisationId
    principal_id: PrincipalId
    stamp: str
    expires_at_s: int


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token and when it ends, in seconds since the epoch."""

    token: str
    expires_at_s: int


def issue_session(system: System, account: Account) -> IssuedToken:
    """A session token for a person."""
    now_s = system.clock.now_us() // US
    claims = {
        "iss": system.policy.issuer,
        "aud": AUDIENCE,
        "sub": account.id,
        "id": account.id,
        "org": account.organisation_id,
        "stamp": account.session_stamp,
        "jti": system.entropy.uuid7(),
        "iat": now_s,
        "exp": now_s + system.policy.session_s,
    }
    header = {"alg": "HS256", "typ": SESSION_TYPE}
    token = jwt.encode(header, claims, system.keyring.session_key, algorithms=["HS256"])
    return IssuedToken(token, now_s + system.policy.session_s)


def issue_access(system: System, holder: Holder) -> IssuedToken:
    """An access token for a client; its scopes are those of the client."""
    now_s = system.clock.now_us() // US
    claims = {
        "iss": system.policy.issuer,
        "aud": AUDIENCE,
        "sub": holder.credential_id,
        "org": holder.organisation_id,
        "scope": " ".join(sorted(holder.principal().scopes)),
        "jti": system.entropy.uuid7(),
        "iat": now_s,
        "exp": now_s + system.policy.access_token_s,
    }
    header = {"alg": "RS256", "typ": ACCESS_TYPE, "kid": system.keyring.key_id}
    token = jwt.encode(header, claims, system.keyring.signing_key, algorithms=["RS256"])
    return IssuedToken(token, now_s + system.policy.access_token_s)


def read_token(system: System, token: str) -> SessionClaims | CredentialId:
    """What a token says once its signature and claims hold; raise `UnreadableToken` for anything else."""
    if len(token) > TOKEN_CHARACTERS_MAX or token.count(".") != 2:
        raise UnreadableToken()
    try:
        kind = extract_compact(token.encode("ascii")).headers().get("typ")
        if kind == ACCESS_TYPE:
            claims = _claims(system, token, ACCESS_TYPE, system.keyring.signing_key, "RS256")
            return CredentialId(claims["sub"])
        claims = _claims(system, token, SESSION_TYPE, system.keyring.session_key, "HS256")
        organisation_id, principal_id = OrganisationId(claims["org"]), PrincipalId(claims["sub"])
        return SessionClaims(organisation_id, principal_id, claims["stamp"], claims["exp"])
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise UnreadableToken() from None


def public_keys(system: System) -> dict[str, list[dict[str, Any]]]:
    """The JWKS that verifies access tokens."""
    key = system.keyring.signing_key.as_dict(private=False)
    return {"keys": [{**key, "kid": system.keyring.key_id, "use": "sig", "alg": "RS256"}]}


def _claims(system: System, token: str, kind: str, key: OctKey | RSAKey, algorithm: str) -> dict[str, Any]:
    decoded = jwt.decode(token, key, algorithms=[algorithm])
    claims = decoded.claims
    now_s = system.clock.now_us() // US
    texts = ("sub", "org", "jti") + (("stamp",) if kind == SESSION_TYPE else ())
    is_good = (
        decoded.header.get("typ") == kind
        and not {"jku", "jwk", "x5u", "x5c", "crit"} & decoded.header.keys()
        and claims.get("iss") == system.policy.issuer
        and claims.get("aud") == AUDIENCE
        and all(isinstance(claims.get(name), str) for name in texts)
        and all(type(claims.get(name)) is int for name in ("iat", "exp"))
        and claims["iat"] <= now_s + LEEWAY_S
        and type(claims.get("nbf", 0)) is int
        and claims.get("nbf", 0) <= now_s + LEEWAY_S
        and now_s < claims["exp"]
    )
    if not is_good:
        raise UnreadableToken()
    return claims
