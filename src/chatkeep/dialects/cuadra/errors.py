"""Cuadra's errors: RFC 7807 problems of four members, in the vendor's words where its pages give them.

The vendor documents 400 to 422, 429 and 500; what it has no word for keeps its usual number.
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from chatkeep.dialects.cuadra import wire
from chatkeep.domain.errors import ChatkeepError, InvalidField
from chatkeep.web.answers import JsonAnswer
from chatkeep.web.statuses import StatusTable, headers_of

PROBLEM = "application/problem+json"
STATUSES = StatusTable()
TITLES = {422: "Validation error"}
NOBODY = "Invalid or expired token."

# Domain fields that have another name on this wire; in paths such as `messages.0.tool_call_id` each part by itself.
WIRE_NAMES = {
    "model_id": "modelId",
    "system_prompt": "systemPrompt",
    "shared_with": "sharedWith",
    "tool_call_id": "toolCallId",
}


def write_error(error: ChatkeepError, method: str) -> Response:
    """A domain error as a problem."""
    headers = headers_of(error)
    if error.kind == "exhausted":
        headers["x-ratelimit-remaining"] = "0"
    return _problem(STATUSES.of(error), _sentence(error), headers)


def write_plain(status: int, reason: str, method: str) -> Response:
    """An error of HTTP itself as a problem."""
    return _problem(status, reason, {})


def _sentence(error: ChatkeepError) -> str:
    if error.kind == "unauthenticated":
        return NOBODY
    if isinstance(error, InvalidField):
        where = ".".join(WIRE_NAMES.get(part, part) for part in error.field.split("."))
        return f"{where}: {error.message}"
    return str(error)


def _problem(status: int, detail: str, headers: dict[str, str]) -> Response:
    title = TITLES.get(status, HTTPStatus(status).phrase)
    content: wire.Problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JsonAnswer(content, status_code=status, media_type=PROBLEM, headers=headers)
