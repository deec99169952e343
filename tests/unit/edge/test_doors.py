"""Which dialect answers which URL."""

from __future__ import annotations

from typing import get_args

import pytest

from chatkeep.domain.chat import Dialect
from chatkeep.edge.doors import LEXICON_KEYS, PREFIXES, choose

ROOT: dict[str, Dialect | None] = {
    "/ws/chat": "lexicon",
    "/ws/chat/": None,
    "/ws/chats": None,
    "/ws": None,
    "/v1/chats": "cuadra",
    "/.well-known/jwks.json": "cuadra",
    "/v2/assistants/": "synthflow",
    "/api/v1/chats": "openwebui",
    "/api/v1/chats/": "openwebui",
    "/api/v1/chats/some-id": "openwebui",
    "/api/chat/completions": "openwebui",
    "/": None,
    "/v1": None,
    "/v3/": None,
    "/chatkeep/v10/chats": None,
    "/lexiconic/ws/chat": None,
}
"""Without a header that tells more."""


@pytest.mark.parametrize(("path", "dialect"), ROOT.items())
def test_at_the_root(path: str, dialect: Dialect | None) -> None:
    assert choose(path, ()) == (None if dialect is None else (dialect, ""))


def test_every_dialect_has_a_prefix_and_is_there_whatever_follows_and_whoever_asks() -> None:
    assert {dialect for _, dialect in PREFIXES} == set(get_args(Dialect))
    for prefix, dialect in PREFIXES:
        for rest in ("", "/", "/ws/chat", "/api/v1/chats/", "/v2/chat/some-id"):
            for headers in ((), [(LEXICON_KEYS[0], b"key")]):
                assert choose(prefix + rest, headers) == (dialect, prefix)


@pytest.mark.parametrize("name", LEXICON_KEYS)
def test_where_two_dialects_have_one_url_lexicons_key_tells(name: bytes) -> None:
    headers = [(b"accept", b"*/*"), (name, b"key")]
    assert choose("/api/v1/chats/some-id", headers) == ("lexicon", "")
    assert choose("/api/v1/chatsome-id", headers) == ("openwebui", "")
    assert choose("/api/v1/auths/", headers) == ("openwebui", "")
    assert choose("/v1/chats", headers) == ("cuadra", "")


@pytest.mark.parametrize("headers", [(), [(b"authorization", b"Bearer token")], [(LEXICON_KEYS[0], b"key")]])
def test_a_socket_is_lexicons_wherever_its_key_is(headers: list[tuple[bytes, bytes]]) -> None:
    assert choose("/ws/chat", headers) == ("lexicon", "")
