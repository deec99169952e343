"""The native dialect's errors: RFC 9457 problem details with a stable `code`."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from chatkeep.domain.errors import ChatkeepError, InvalidField
from chatkeep.web.answers import JsonAnswer
from chatkeep.web.statuses import StatusTable, headers_of

PROBLEM = "application/problem+json"
STATUSES = StatusTable()


def write_error(error: ChatkeepError, method: str) -> Response:
    """A domain error as a problem; `field` says where, for an invalid field."""
    status = STATUSES.of(error)
    extra = {"field": error.field} if isinstance(error, InvalidField) else {}
    return _problem(status, str(error), headers_of(error), code=error.code, **extra)


def write_plain(status: int, reason: str, method: str) -> Response:
    """An error of HTTP itself as a problem."""
    return _problem(status, reason, {}, code=HTTPStatus(status).name.lower())


def _problem(status: int, detail: str, headers: dict[str, str], **extra: str) -> Response:
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **extra,
    }
    return JsonAnswer(content, status_code=status, media_type=PROBLEM, headers=headers)
