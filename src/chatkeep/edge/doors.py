"""Which dialect answers which URL: the whole list. Each has a prefix of its own and the root URLs of its seed page."""

from __future__ import annotations

from collections.abc import Iterable

from chatkeep.domain.chat import Dialect

PREFIXES: tuple[tuple[str, Dialect], ...] = (
    ("/chatkeep/v1", "native"),
    ("/cuadra", "cuadra"),
    ("/openwebui", "openwebui"),
    ("/lexicon", "lexicon"),
    ("/synthflow", "synthflow"),
)
LEXICON_KEYS = (b"x-api-key", b"x-tenant-api-secret")

Headers = Iterable[tuple[bytes, bytes]]


def choose(path: str, headers: Headers) -> tuple[Dialect, str] | None:
    """The dialect for a request and the prefix its application is mounted at; None where no dialect lives."""
    for prefix, dialect in PREFIXES:
        if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
            return dialect, prefix
    if path.startswith("/v2/"):
        return "synthflow", ""
    if path.startswith("/v1/") or path == "/.well-known/jwks.json":
        return "cuadra", ""
    if path == "/ws/chat":
        return "lexicon", ""
    if path.startswith("/api/"):
        is_lexicon = _is_chats(path) and any(name in LEXICON_KEYS for name, _ in headers)
        return ("lexicon" if is_lexicon else "openwebui"), ""
    return None


def _is_chats(path: str) -> bool:
    return path == "/api/v1/chats" or path.startswith("/api/v1/chats/")
