"""Synthflow's errors: always `{"detail": "<sentence>"}`. Chat calls declare 400 alone for what a client does wrong."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from chatkeep.dialects.synthflow import wire
from chatkeep.domain.errors import ChatkeepError
from chatkeep.web.answers import JsonAnswer
from chatkeep.web.statuses import StatusTable, headers_of

_BAD_REQUEST = (
    "invalid",
    "invalid_field",
    "bad_cursor",
    "conflict",
    "already_exists",
    "session_ended",
    "idempotency_mismatch",
)
# 429 is what the vendor answers to too much at once; here it is a second message during an answer.
STATUSES = StatusTable(
    {**dict.fromkeys(_BAD_REQUEST, HTTPStatus.BAD_REQUEST), "chat_busy": HTTPStatus.TOO_MANY_REQUESTS}
)


def write_error(error: ChatkeepError, method: str) -> Response:
    """A domain error as its sentence."""
    return _detail(STATUSES.of(error), str(error), headers_of(error))


def write_plain(status: int, reason: str, method: str) -> Response:
    """An error of HTTP itself as its reason."""
    return _detail(status, reason, {})


def _detail(status: int, detail: str, headers: dict[str, str]) -> Response:
    content: wire.ErrorOut = {"detail": detail}
    return JsonAnswer(content, status_code=status, headers=headers)
