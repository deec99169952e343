"""Bodies that no client means well with: each must be refused, in the dialect's own shape, and change nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Hostile:
    """A body, its headers, and what kind of refusal it must meet: `malformed`, `invalid` or an HTTP status."""

    name: str
    content: bytes
    refusal: str | int
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


EMPTY = "empty"


def bodies(valid: Any) -> list[Hostile]:
    """Hostile variants of a body that would be served."""
    raw = json.dumps(valid).encode()
    opened = raw[:-1] + (b", " if len(raw) > 2 else b"")
    key = json.dumps(next(iter(valid))).encode()
    return [
        Hostile(EMPTY, b"", "any"),
        Hostile("blank", b" ", "any"),
        Hostile("oversize", raw[:-1] + b" " * MIB + b"}", 413),
        Hostile("65 deep", opened + b'"deep": ' + b"[" * 64 + b"]" * 64 + b"}", "malformed"),
        Hostile("100,000 deep", b"[" * 100_000, "malformed"),
        Hostile("duplicate keys", opened + key + b": null}", "malformed"),
        Hostile("NaN", opened + b'"number": NaN}', "malformed"),
        Hostile("Infinity", opened + b'"number": -Infinity}', "malformed"),
        Hostile("beyond a double", opened + b'"number": 1e400}', "malformed"),
        Hostile("beyond 64 bits", opened + b'"number": 36893488147419103232}', "malformed"),
        Hostile("invalid UTF-8", opened + b'"text": "\xff\xfe"}', "malformed"),
        Hostile("encoded surrogate", opened + b'"text": "\xed\xa0\x80"}', "malformed"),
        Hostile("lone surrogate", opened + b'"text": "\\ud800"}', "malformed"),
        Hostile("UTF-16", json.dumps(valid).encode("utf-16"), "malformed"),
        Hostile("byte order mark", b"\xef\xbb\xbf" + raw, "malformed"),
        Hostile("truncated", raw[:-1], "malformed"),
        Hostile("more after it", raw + b"{}", "malformed"),
        Hostile("trailing comma", raw[:-1] + b",}", "malformed"),
        Hostile("a comment", raw + b" // ends here", "malformed"),
        Hostile("NUL", opened + b'"text": "a\\u0000b"}', "any"),
        Hostile("a raw NUL", opened + b'"text": "a\x00b"}', "malformed"),
        Hostile("an array", b"[" + raw + b"]", "any"),
        Hostile("a string", b'"hello"', "any"),
        Hostile("null", b"null", "any"),
        Hostile("text/plain", raw, 415, content_type="text/plain"),
        Hostile("a form", b"a=b", 415, content_type="application/x-www-form-urlencoded"),
        Hostile("XML", b"<a/>", 415, content_type="application/xml"),
        Hostile("compressed", raw, 415, headers={"content-encoding": "gzip"}),
        Hostile("many values", b'{"a": [' + b"{}," * 30_000 + b"{}]}", "malformed"),
        Hostile(
            "many keys", json.dumps({f"key{place}": place for place in range(1_001)}).encode(), "malformed"
        ),
        Hostile("a long string", opened + b'"text": "' + b"a" * 300_000 + b'"}', "malformed"),
        Hostile("many digits", opened + b'"number": ' + b"1" * 5_000 + b"}", "malformed"),
    ]


def texts() -> list[tuple[str, bytes]]:
    """JSON strings that hold what may not be kept, as they stand in a body."""
    return [("NUL", b'"a\\u0000b"'), ("a high surrogate", b'"a\\ud800b"'), ("a low surrogate", b'"\\udc00"')]
