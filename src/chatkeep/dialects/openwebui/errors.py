"""Open WebUI's errors: `{"detail": …}`, a sentence in the vendor's words, or FastAPI's list for a failed validation.

Its clients branch on peculiar numbers: a chat that is not there is 401 to GET and 404 to DELETE, and so is what may not
be done 401, but a closed sign-up 403 and a wrong password 400. What the client sent is never repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from chatkeep.dialects.openwebui import wire
from chatkeep.domain.errors import (
    AlreadyExists,
    ChatkeepError,
    InvalidField,
    NotAllowed,
    NotFound,
    UnreadableToken,
)
from chatkeep.web.answers import JsonAnswer
from chatkeep.web.statuses import StatusTable, headers_of

STATUSES = StatusTable(
    {
        "wrong_password": 400,
        "denied": 401,
        "missing_scope": 401,
        "not_allowed": 401,
        "malformed_json": 422,
    }
)
WHO = "401 Unauthorized"
NOT_FOUND = "We could not find what you're looking for :/"
ACCESS_PROHIBITED = (
    "You do not have permission to access this resource. Please contact your administrator for assistance."
)
SENTENCES = {
    "missing_credential": "Not authenticated",
    "invalid_credential": "Your session has expired or the token is invalid. Please sign in again.",
    "wrong_password": (
        "The email or password provided is incorrect. Please check for typos and try logging in again."
    ),
    "denied": ACCESS_PROHIBITED,
    "missing_scope": ACCESS_PROHIBITED,
    "not_allowed": ACCESS_PROHIBITED,
    "sign_up_closed": ACCESS_PROHIBITED,
    "not_found": NOT_FOUND,
    "rate_limited": "API rate limit exceeded",
}
Location = tuple[str | int, ...]


class Unprocessable(InvalidField):
    """A value of the body that breaks a rule, with its place as a list and its kind, as FastAPI says them."""

    def __init__(self, location: Location, message: str, kind: str = "value_error") -> None:
        super().__init__(".".join(map(str, location)), message)
        self.location = location
        self.fault_kind = kind


class InvalidEmail(InvalidField):
    """Sign-up with something that is no e-mail address."""

    status = 400
    sentence = (
        "The email format you entered is invalid. Please double-check and make sure you're using a valid email address "
        "(e.g., yourname@example.com)."
    )

    def __init__(self) -> None:
        super().__init__("email", self.sentence)


class EmailTaken(AlreadyExists):
    """Sign-up with an address that has an account."""

    status = 400
    sentence = (
        "Uh-oh! This email is already registered. Sign in with your existing account or choose another email to start "
        "anew."
    )


class HumanSessionRequired(NotAllowed):
    """An API key on a route that is for people who signed in."""

    status = 403
    sentence = "A human session is required."


class NotServed(NotFound):
    """A route of the vendor that chatkeep does not have."""

    status = 404
    sentence = "Not Found"


OWN = (InvalidEmail, EmailTaken, HumanSessionRequired, NotServed)


def write_error(error: ChatkeepError, method: str) -> Response:
    """A domain error; a chat that is not there is 401 to whoever reads it."""
    if isinstance(error, OWN):
        return _detail(error.status, error.sentence)
    headers = headers_of(error)
    if isinstance(error, UnreadableToken):
        return _detail(STATUSES.of(error), WHO, headers)
    if isinstance(error, NotFound) and error.noun == "Chat" and method in ("GET", "HEAD"):
        return _detail(401, NOT_FOUND)
    status = STATUSES.of(error)
    return _detail(
        status, _faults(error) if status == 422 else SENTENCES.get(error.code, str(error)), headers
    )


def write_plain(status: int, reason: str, method: str) -> Response:
    """An error of HTTP itself, such as a route that is not there."""
    return _detail(status, reason)


def write_validation(error: RequestValidationError) -> Response:
    """All that is wrong in a request, without what was sent."""
    return _detail(422, [_fault(each["type"], each["loc"], each["msg"]) for each in error.errors()])


def _faults(error: ChatkeepError) -> list[wire.Fault]:
    if isinstance(error, Unprocessable):
        return [_fault(error.fault_kind, ("body", *error.location), error.message)]
    if isinstance(error, InvalidField):
        return [_fault("value_error", ("body", *error.field.split(".")), error.message)]
    kind = "json_invalid" if error.code == "malformed_json" else "value_error"
    return [_fault(kind, ("body",), str(error))]


def _fault(kind: str, location: Iterable[Any], message: str) -> wire.Fault:
    return {"type": kind, "loc": list(location), "msg": message}


def _detail(status: int, detail: str | list[wire.Fault], headers: dict[str, str] | None = None) -> Response:
    content: wire.ErrorOut = {"detail": detail}
    return JsonAnswer(content, status_code=status, headers=headers)
