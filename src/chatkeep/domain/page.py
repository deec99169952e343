"""Pages of lists: a cursor is opaque text that names the last row seen."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Generic, TypeVar

from chatkeep.domain.errors import BadCursor
from chatkeep.domain.ids import is_id

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; `next_cursor` is None on the last one."""

    items: list[T]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        """Whether another page follows."""
        return self.next_cursor is not None


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """A stretch of a list by offset, and how long the whole list is."""

    items: list[T]
    total: int


def write_cursor(*parts: int | str) -> str:
    """Opaque text for a position in a list."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *types: type) -> list[int | str]:
    """The position written by `write_cursor`; raise `BadCursor` for anything else."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        parts = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        raise BadCursor("The cursor is not one of this list.") from None
    if (
        not isinstance(parts, list)
        or len(parts) != len(types)
        or any(type(part) is not kind for part, kind in zip(parts, types, strict=True))
        or any(isinstance(part, int) and abs(part) >= 2**63 for part in parts)
        or any(isinstance(part, str) and not is_id(part) for part in parts)
    ):
        raise BadCursor("The cursor is not one of this list.")
    return parts
