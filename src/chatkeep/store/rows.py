"""JSON columns and flags: the two conversions that every noun needs."""

from __future__ import annotations

from typing import Any

import orjson


def write_json(value: object) -> str | None:
    """JSON text for a column; None stays NULL."""
    return None if value is None else orjson.dumps(value).decode()


def json_bytes(value: object) -> int:
    """How many bytes the value takes as JSON."""
    return len(orjson.dumps(value))


def read_json(text: str | None) -> Any:
    """The value of a JSON column; NULL is None."""
    return None if text is None else orjson.loads(text)


def flag(value: int | None) -> bool | None:
    """A nullable 0/1 column as a truth value."""
    return None if value is None else bool(value)
