"""The HTTP status of each domain error where a dialect does not say otherwise; a test proves it total."""

from __future__ import annotations

from collections.abc import Mapping

from chatkeep.domain.errors import ChatkeepError

DEFAULT: Mapping[str, int] = {
    "error": 500,
    "invalid": 422,
    "malformed_json": 400,
    "invalid_field": 422,
    "unsupported_media_type": 415,
    "body_too_large": 413,
    "body_too_slow": 408,
    "bad_cursor": 422,
    "unauthenticated": 401,
    "missing_credential": 401,
    "invalid_credential": 401,
    "wrong_password": 401,
    "denied": 403,
    "missing_scope": 403,
    "not_allowed": 403,
    "sign_up_closed": 403,
    "not_found": 404,
    "conflict": 409,
    "already_exists": 409,
    "version_mismatch": 412,
    "chat_busy": 409,
    "session_ended": 409,
    "chat_in_use": 409,
    "idempotency_mismatch": 422,
    "idempotency_in_flight": 409,
    "lease_lost": 409,
    "exhausted": 429,
    "rate_limited": 429,
    "unavailable": 503,
    "provider_failed": 502,
    "no_model": 503,
    "store_busy": 503,
    "storage_full": 507,
    "store_lost": 503,
    "store_refused": 503,
    "shutting_down": 503,
}


class StatusTable:
    """The statuses of one dialect: the default ones with its own exceptions."""

    def __init__(self, own: Mapping[str, int] | None = None) -> None:
        self._statuses = {**DEFAULT, **(own or {})}

    def of(self, error: ChatkeepError) -> int:
        """The HTTP status for this error."""
        return self._statuses[error.code]


def headers_of(error: ChatkeepError) -> dict[str, str]:
    """Headers that go with an error in every dialect: when to try again, how to authenticate."""
    if error.kind == "exhausted":
        return {"retry-after": str(getattr(error, "retry_after_s", 1))}
    if error.code in ("idempotency_in_flight", "chat_busy", "shutting_down", "store_busy"):
        return {"retry-after": "1"}
    if error.kind == "unauthenticated" and error.code != "wrong_password":
        return {"www-authenticate": 'Bearer realm="chatkeep"'}
    return {}
