"""From what a client sends to a `Principal`: API keys, session tokens, access tokens, client secrets.

Wrong, revoked, expired and suspended all raise the same `InvalidCredential`. Nothing outlives a commit: a revoked key
stops at its next request, on any node.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

from chatkeep.domain.errors import InvalidCredential, Unavailable
from chatkeep.domain.ids import CredentialId, Entropy, is_id
from chatkeep.domain.principal import Principal, effective_scopes
from chatkeep.domain.text import US
from chatkeep.services import tokens
from chatkeep.services.context import System
from chatkeep.store import credentials, principals
from chatkeep.store.credentials import Holder
from chatkeep.store.driver import Transaction

KEY_PREFIX = "ck_"
CLIENT_SECRET_PREFIX = "cks_"  # noqa: S105 - the visible prefix of a secret, not a secret
_RANDOM_CHARACTERS = 40
_CHECK_CHARACTERS = 6
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LAST_USED_US = 60 * US

Known: TypeAlias = tuple[Holder, Principal]


def new_secret(prefix: str, entropy: Entropy) -> str:
    """`prefix`, 40 random base62 characters (238 bits) and 6 of their CRC32, so that typos are refused unasked."""
    body = entropy.secret(_RANDOM_CHARACTERS)
    return f"{prefix}{body}{_checksum(body)}"


def is_well_formed(secret: str, prefix: str) -> bool:
    """Whether prefix, length and checksum agree."""
    body = secret[len(prefix) :]
    return (
        len(body) == _RANDOM_CHARACTERS + _CHECK_CHARACTERS
        and secret.isascii()
        and _checksum(body[:_RANDOM_CHARACTERS]) == body[_RANDOM_CHARACTERS:]
    )


async def authenticate(system: System, secret: str) -> Principal:
    """Who sent this bearer credential. Raises `InvalidCredential`."""
    if secret.startswith(KEY_PREFIX):
        return await _by_key(system, secret)
    said = tokens.read_token(system, secret)
    names = (said.organisation_id, said.principal_id) if isinstance(said, tokens.SessionClaims) else (said,)
    if not all(map(is_id, names)):
        raise InvalidCredential()
    if isinstance(said, tokens.SessionClaims):
        return await _by_session(system, said)

    async def body(tx: Transaction) -> Known | None:
        return _known(await credentials.holder_by_id(tx, said))

    return await _valid(system, await system.store.recall(None, said, body), kind="client")


async def check_client(system: System, client_id: str, client_secret: str) -> Holder:
    """The client of a client-credentials grant. Raises `InvalidCredential`."""
    if not is_well_formed(client_secret, CLIENT_SECRET_PREFIX):
        raise InvalidCredential()
    digest = system.keyring.digest(client_secret)

    async def body(tx: Transaction) -> Known | None:
        return _known(await credentials.holder_by_secret(tx, digest))

    known = await system.store.peek(None, body)
    if known is None or known[0].credential_id != CredentialId(client_id):
        raise InvalidCredential()
    await _valid(system, known, kind="client")
    return known[0]


async def _by_key(system: System, key: str) -> Principal:
    digest = system.keyring.digest(key)

    async def body(tx: Transaction) -> Known | None:
        is_possible = is_well_formed(key, KEY_PREFIX)
        known = _known(await credentials.holder_by_secret(tx, digest)) if is_possible else None
        return None if known is None else (known[0], replace(known[1], known_until_us=_known_until(known[0])))

    return await _valid(system, await system.store.recall(None, digest, body), kind="api_key")


async def _by_session(system: System, said: tokens.SessionClaims) -> Principal:
    async def body(tx: Transaction) -> principals.Standing | None:
        return await principals.standing(tx, said.organisation_id, said.principal_id)

    person = await system.store.peek(None, body)
    if person is None or person.session_stamp != said.stamp or person.disabled_at or person.suspended_at:
        raise InvalidCredential()
    return Principal(
        organisation_id=person.organisation_id,
        id=person.principal_id,
        kind=person.kind,
        role=person.role,
        name=person.name,
        scopes=effective_scopes(person.role, ()),
        credential_kind="session",
        known_until_us=said.expires_at_s * US,
    )


def _known_until(holder: Holder) -> int:
    """When the credential expires, or its next use is to be noted."""
    noted_until = 0 if holder.last_used_at is None else holder.last_used_at + _LAST_USED_US
    return noted_until if holder.expires_at is None else min(noted_until, holder.expires_at)


def _known(holder: Holder | None) -> Known | None:
    return None if holder is None else (holder, holder.principal())


async def _valid(system: System, known: Known | None, *, kind: str) -> Principal:
    if known is None:
        raise InvalidCredential()
    holder, principal = known
    now_us = system.clock.now_us()
    if holder.credential_kind != kind or not holder.is_valid(now_us):
        raise InvalidCredential()
    if holder.last_used_at is None or now_us - holder.last_used_at >= _LAST_USED_US:
        await _note_use(system, holder, now_us)
    return principal


async def _note_use(system: System, holder: Holder, now_us: int) -> None:
    async def body(tx: Transaction) -> None:
        await credentials.used(tx, holder.credential_id, now=now_us)

    with suppress(Unavailable):  # A full disk must not lock readers out for want of a time stamp.
        await system.store.write(holder.organisation_id, body)


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECK_CHARACTERS):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits
