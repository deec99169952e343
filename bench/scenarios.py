"""What is measured: chats to read and to append to, and the requests for each row of the table."""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench import load
from bench.server import Running

NATIVE = "/chatkeep/v1"
SIZES = (10, 100, 2_000)
APPEND_SIZES = (10, 100, 1_000, 10_000)
APPEND_CHATS = 64
LISTED = 60
LONG = 10_000
TEXT = "The quick brown fox jumps over the lazy dog, and then it tells the dog all about it. " * 3
DIALECTS = {
    "native": NATIVE + "/chats/{}",
    "cuadra": "/v1/chats/{}",
    "openwebui": "/api/v1/chats/{}",
    "lexicon": "/lexicon/api/v1/chats/{}",
    "synthflow": "/v2/chat/{}",
}


@dataclass(frozen=True, slots=True)
class Work:
    """One row: its name, its requests, and over how many connections they go."""

    name: str
    requests: Iterator[bytes]
    connections: int = 32


def ask(server: Running, method: str, path: str, body: Any = None) -> tuple[Any, str]:
    """One request that must succeed: its JSON and its ETag."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {server.key}", "content-type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", data, headers, method=method)
    with urllib.request.urlopen(request) as response:
        return json.loads(response.read()), response.headers.get("etag", "")


def make_chat(server: Running, messages: int) -> str:
    """A chat of so many messages, user and assistant in turn; its id."""
    chat, _ = ask(server, "POST", f"{NATIVE}/chats", {"title": f"{messages} messages"})
    said = [{"role": ("user", "assistant")[turn % 2], "content": TEXT} for turn in range(100)]
    for start in range(0, messages, 100):
        batch = said[: min(100, messages - start)]
        ask(server, "POST", f"{NATIVE}/chats/{chat['id']}/messages", {"messages": batch})
    return str(chat["id"])


def reads(server: Running) -> Iterator[Work]:
    """GET one chat in every dialect, conditional GETs, lists, pages of messages."""
    ask(server, "POST", f"{NATIVE}/models", {"display_name": "bench", "context_window": 8192})
    chats = {size: make_chat(server, size) for size in SIZES}
    for dialect, path in DIALECTS.items():
        for size in SIZES:
            if dialect != "lexicon" or size == 100:
                yield _get(server, f"GET chat of {size:,}, {dialect}", path.format(chats[size]))
        where = path.format(chats[100])
        yield _get(server, f"304, {dialect}", where, {"if-none-match": ask(server, "GET", where)[1]})
    page = DIALECTS["lexicon"].format(chats[100]) + "/messages?limit=100"
    yield _get(server, "100 messages, lexicon", page)
    for _ in range(LISTED - len(SIZES)):
        make_chat(server, 2)
    yield _get(server, f"list of {LISTED} chats, native", f"{NATIVE}/chats?limit={LISTED}")
    yield _get(server, f"list of {LISTED} chats, cuadra", f"/v1/chats?limit={LISTED}")
    last = f"{NATIVE}/chats/{make_chat(server, LONG)}/messages?order=desc&limit=50"
    yield _get(server, f"last 50 of {LONG:,} messages, native", last)


def appends(server: Running) -> Iterator[Work]:
    """Appends by 64 clients, each to a chat of its own that already has so many messages."""
    body = json.dumps({"messages": [{"role": "user", "content": TEXT}]}).encode()
    for size in APPEND_SIZES:
        chats = [make_chat(server, size) for _ in range(APPEND_CHATS if size <= 1_000 else 8)]
        requests = [
            load.request("POST", f"{NATIVE}/chats/{chat}/messages", _headers(server), body) for chat in chats
        ]
        yield Work(f"append at {size:,} messages", itertools.cycle(requests), APPEND_CHATS)


def _get(server: Running, name: str, path: str, headers: dict[str, str] | None = None) -> Work:
    return Work(name, itertools.repeat(load.request("GET", path, {**_headers(server), **(headers or {})})))


def _headers(server: Running) -> dict[str, str]:
    return {"authorization": f"Bearer {server.key}"}
