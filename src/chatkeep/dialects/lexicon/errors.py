"""Lexicon's errors: `{"error": <HTTP status>, "message": <sentence>}`, whatever went wrong.

The vendor documents 400, 401, 404, 409 and 500. What it has no word for keeps its usual number.
"""

from __future__ import annotations

from starlette.responses import Response

from chatkeep.dialects.lexicon import wire
from chatkeep.domain.errors import ChatkeepError, NotFound
from chatkeep.web.answers import JsonAnswer
from chatkeep.web.statuses import StatusTable, headers_of

STATUSES = StatusTable({"invalid": 400, "invalid_field": 400, "bad_cursor": 400, "idempotency_mismatch": 400})
NOBODY = "Invalid or missing API key"
NO_CHAT = "Chat not found or doesn't belong to your tenant"
NO_USER = "User not found or has no chats"


def write_error(error: ChatkeepError, method: str) -> Response:
    """A domain error; the two that the vendor's pages describe are in the vendor's words."""
    return _error(STATUSES.of(error), _sentence(error), headers_of(error))


def write_plain(status: int, reason: str, method: str) -> Response:
    """An error of HTTP itself, such as a route that is not there."""
    return _error(status, reason, {})


def _sentence(error: ChatkeepError) -> str:
    if error.kind == "unauthenticated":
        return NOBODY
    if isinstance(error, NotFound) and error.noun == "Chat":
        return NO_CHAT
    if isinstance(error, NotFound) and error.noun == "User":
        return NO_USER
    return str(error)


def _error(status: int, message: str, headers: dict[str, str]) -> Response:
    content: wire.Error = {"error": status, "message": message}
    return JsonAnswer(content, status_code=status, headers=headers)
