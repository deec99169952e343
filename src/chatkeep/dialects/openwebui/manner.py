"""How the Open WebUI dialect behaves in everything that is not a route.

The credential is the first of `Authorization: Bearer`, `x-api-key` and the cookie `token`; another scheme counts as
none, as it does for the vendor.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer
from starlette.requests import HTTPConnection

from chatkeep.dialects.openwebui import errors, wire
from chatkeep.domain.errors import InvalidCredential
from chatkeep.services.context import Context
from chatkeep.web.credentials import Finder, cookie, header
from chatkeep.web.dialect import CallerOf, Manner

COOKIE = "token"
VENDOR_KEY_PREFIX = "sk-"


def bearer(connection: HTTPConnection) -> str | None:
    """The token of `Authorization: Bearer …`, if that is what the header holds."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _not_the_vendors(find: Finder) -> Finder:
    # A key of a real Open WebUI is a key nobody knows here, which the vendor tells from a token nobody can read.
    def checked(connection: HTTPConnection) -> str | None:
        secret = find(connection)
        if secret is not None and secret.startswith(VENDOR_KEY_PREFIX):
            raise InvalidCredential()
        return secret

    return checked


FINDERS = tuple(_not_the_vendors(find) for find in (bearer, header("x-api-key"), cookie(COOKIE)))
MANNER = Manner(
    name="openwebui",
    title="chatkeep for Open WebUI clients",
    description="Sign-in and chats as Open WebUI 0.12 serves them.",
    finders=FINDERS,
    write_error=errors.write_error,
    write_plain=errors.write_plain,
    error_model=wire.ErrorOut,
)
_BEARER = HTTPBearer(
    description="Session token or API key; also as `x-api-key` or, for people, as the cookie `token`."
)
CREDENTIAL = CallerOf(MANNER, _BEARER, "bearer")
Caller = Annotated[Context, Depends(CREDENTIAL)]


def token_of(connection: HTTPConnection) -> str:
    """The credential that authenticated this request."""
    return next(secret for find in FINDERS if (secret := find(connection)) is not None)
