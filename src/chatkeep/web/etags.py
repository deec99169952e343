"""ETags of chats: the moment of creation and the version, so that an id used again never looks unchanged (RFC 9110)."""

from __future__ import annotations

from chatkeep.domain.chat import ChatAccess
from chatkeep.domain.errors import VersionMismatch


def write(found: ChatAccess) -> str:
    """The strong ETag of a chat as it is now."""
    return f'"{found.created_at:x}-{found.version}"'


def matches(header: str, etag: str) -> bool:
    """Whether an `If-None-Match` header names this ETag (weak comparison) or is `*`."""
    if header == etag:
        return True
    names = [name.strip().removeprefix("W/") for name in header.split(",")]
    return "*" in names or etag in names


def version_in(header: str | None) -> int | None:
    """The version an `If-Match` header asks for; None without the header or for `*`. Raises `VersionMismatch`."""
    if header is None or header.strip() == "*":
        return None
    for name in header.split(","):
        _, _, version = name.strip().strip('"').partition("-")
        if (
            not name.strip().startswith("W/")
            and version.isascii()
            and version.isdigit()
            and len(version) < 19
        ):
            return int(version)
    raise VersionMismatch()
