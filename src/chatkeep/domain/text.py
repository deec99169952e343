"""Text rules shared by all dialects: what may be stored, how titles are made, how times are written."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from chatkeep.domain.errors import InvalidField

US = 1_000_000


def check_text(
    field: str, text: str, *, characters_max: int | None = None, bytes_max: int | None = None
) -> str:
    """Return `text` unchanged, or raise `InvalidField` for NUL, lone surrogates, and text over the limits."""
    if "\x00" in text:
        raise InvalidField(field, "must not contain NUL")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidField(field, "must not contain lone surrogates") from None
    if characters_max is not None and len(text) > characters_max:
        raise InvalidField(field, f"must have at most {characters_max} characters")
    if bytes_max is not None and size > bytes_max:
        raise InvalidField(field, f"must have at most {bytes_max} bytes")
    return text


def title_from(first_message: str, *, characters_max: int = 60) -> str:
    """A title of one line from the first message: white space folded, cut at a word where one is near the end."""
    line = " ".join(first_message.split())
    if len(line) <= characters_max:
        return line or "New Chat"
    cut = line[: characters_max - 1]
    at_word = cut.rsplit(" ", 1)[0]
    return (at_word if len(at_word) >= characters_max // 2 else cut).rstrip(" ,.;:") + "…"


def tag_id(name: str) -> str:
    """The id of a tag: its name in lower case with blanks as underscores."""
    return name.strip().lower().replace(" ", "_")


def iso_z(time_us: int) -> str:
    """Microseconds since the epoch as ISO 8601 in UTC with `Z`; the fraction is written only where there is one."""
    seconds, fraction_us = divmod(time_us, US)
    head = _second(seconds)
    return f"{head}.{fraction_us:06d}Z" if fraction_us else f"{head}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def iso_z_or_none(time_us: int | None) -> str | None:
    """`iso_z`, or None for None."""
    return None if time_us is None else iso_z(time_us)
