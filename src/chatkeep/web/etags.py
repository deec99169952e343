"""ETags of chats: the moment of creation and the version, so that an id used again never looks unchanged (RFC 9110)."""

from __future__ import annotations

import re

from chatkeep.domain.chat import ChatAccess
from chatkeep.services.chats import Versions

_ETAG = re.compile(r'"([0-9a-f]{1,16})-([0-9]{1,18})(?:\.[^"]*)?"')


def write(found: ChatAccess, stamp: str = "") -> str:
    """The strong ETag of a chat as it is now; `stamp` is what else its rendering depends on."""
    return f'"{found.created_at:x}-{found.version}{stamp and "." + stamp}"'


def matches(header: str, etag: str) -> bool:
    """Whether an `If-None-Match` header names this ETag (weak comparison) or is `*`."""
    if header == etag:
        return True
    names = [name.strip().removeprefix("W/") for name in header.split(",")]
    return "*" in names or etag in names


def versions_in(header: str | None) -> Versions | None:
    """What an `If-Match` header asks for, compared strongly; None without the header or for `*`."""
    if header is None or header.strip() == "*":
        return None
    named = (_ETAG.fullmatch(name.strip()) for name in header.split(","))
    return frozenset((int(each[1], 16), int(each[2])) for each in named if each is not None)
