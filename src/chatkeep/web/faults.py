"""The first thing wrong in a request that failed validation, as a domain error."""

from __future__ import annotations

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from chatkeep.domain.errors import InvalidField


def first_fault(error: RequestValidationError | ValidationError) -> InvalidField:
    """The field's path as the client sent it, and a sentence."""
    faults = error.errors()
    if not faults:
        return InvalidField("body", "is invalid")
    where = [str(part) for part in faults[0]["loc"] if part not in ("body", "query", "path", "header")]
    return InvalidField(".".join(where) or "body", str(faults[0]["msg"]).removeprefix("Value error, "))
