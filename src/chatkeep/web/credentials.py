"""From a request's headers to the caller's `Context`. Every dialect says where its credential sits; the rest is shared.

A chatkeep API key, a session token and an access token are taken wherever a dialect takes its own credential.
"""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

from starlette.requests import HTTPConnection

from chatkeep.domain.errors import InvalidCredential, MissingCredential
from chatkeep.services import credentials
from chatkeep.services.context import Context
from chatkeep.web.house import House

Finder = Callable[[HTTPConnection], str | None]


def bearer(connection: HTTPConnection) -> str | None:
    """The token of `Authorization: Bearer …`. Raises `InvalidCredential` for any other scheme."""
    header = connection.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidCredential()
    return token.strip()


def header(name: str) -> Finder:
    """A finder for a header that holds the credential alone."""

    def find(connection: HTTPConnection) -> str | None:
        return connection.headers.get(name) or None

    return find


def query(name: str) -> Finder:
    """A finder for a parameter of the URL, for WebSockets of dialects whose clients have no other place for it."""

    def find(connection: HTTPConnection) -> str | None:
        return connection.query_params.get(name) or None

    return find


def cookie(name: str) -> Finder:
    """A finder for a cookie that holds the credential alone."""

    def find(connection: HTTPConnection) -> str | None:
        raw = connection.headers.get("cookie")
        if raw is None:
            return None
        try:
            morsel = SimpleCookie(raw).get(name)
        except CookieError:
            return None
        return morsel.value if morsel is not None and morsel.value else None

    return find


async def context_of(house: House, connection: HTTPConnection, finders: tuple[Finder, ...]) -> Context:
    """Who calls. Raises `MissingCredential` or `InvalidCredential`."""
    for find in finders:
        secret = find(connection)
        if secret is not None:
            return Context(house.system, await credentials.authenticate(house.system, secret))
    raise MissingCredential()
