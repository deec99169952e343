"""What is measured: chats to read and to append to, made through the native API, and the requests of each row."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from bench import load
from bench.server import Running

NATIVE = "/chatkeep/v1"
TEXT = "The quick brown fox jumps over the lazy dog, and then it tells the dog all about it. " * 3
DIALECTS = {
    "native": f"{NATIVE}/chats/{{}}",
    "cuadra": "/cuadra/v1/chats/{}",
    "openwebui": "/openwebui/api/v1/chats/{}",
    "synthflow": "/synthflow/v2/chat/{}",
    "lexicon": "/lexicon/api/v1/chats/{}",
}
WITHOUT_MESSAGES = {"lexicon"}
LISTS = {"native": f"{NATIVE}/chats?limit={{}}", "cuadra": "/cuadra/v1/chats?limit={}"}
USUAL = 100
PER_CHAT, PER_APPEND = 1_000, 100
READERS, WRITERS, OPENERS = 16, 64, 1
ACTIVE = 8
MADE_MAX = 100_000
"""Fewer than `ACTIVE` chats are appended to side by side where they would hold more messages than this."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything. `appends_per_s` is what the pools of chats to append to are made for."""

    sizes: tuple[int, ...] = (10, 100, 2_000)
    append_sizes: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000)
    listed: int = 60
    starts: int = 5
    appends_per_s: int = 4_000


SMALL = Scale(sizes=(10, 100), append_sizes=(10, 100), listed=20, starts=1, appends_per_s=500)


@dataclass(frozen=True, slots=True)
class Work:
    """One row: its requests, over how many connections they go, which status they must have.

    `size` is that of the chat whose bytes the yardsticks serve for comparison. Without `requests` the `note` says why.
    """

    name: str
    server: Running
    requests: Iterator[bytes] | None
    connections: int = READERS
    status: int = HTTPStatus.OK
    size: int = USUAL
    note: str = ""


class Library:
    """A server with chats to be read; exactly as many as a list shows."""

    def __init__(self, server: Running, scale: Scale) -> None:
        self._server = server
        self._scale = scale
        self._model_id = str(server.make(f"{NATIVE}/models", _MODEL)["id"])
        self._chats = {size: make_chat(server, size, self._model_id) for size in {*scale.sizes, USUAL}}
        for _ in range(scale.listed - len(self._chats)):
            make_chat(server, 2, self._model_id)

    def body(self, size: int) -> bytes:
        """The native answer for the chat of this size."""
        return self._server.ask("GET", DIALECTS["native"].format(self._chats[size]))[2]

    def works(self) -> Iterator[Work]:
        """GET one chat in every dialect, conditional GETs, a page of messages, lists."""
        for dialect, path in DIALECTS.items():
            for size in (USUAL,) if dialect in WITHOUT_MESSAGES else self._scale.sizes:
                what = "chat, no messages" if dialect in WITHOUT_MESSAGES else f"chat of {size:,}"
                yield self._get(f"GET {what}, {dialect}", path.format(self._chats[size]), size)
        page = DIALECTS["lexicon"].format(self._chats[USUAL]) + f"/messages?limit={USUAL}"
        yield self._get(f"GET {USUAL} messages, lexicon", page, USUAL)
        for dialect, path in DIALECTS.items():
            yield self._unchanged(dialect, path.format(self._chats[USUAL]))
        for dialect, path in LISTS.items():
            yield self._get(
                f"list of {self._scale.listed} chats, {dialect}", path.format(self._scale.listed), USUAL
            )

    def _get(self, name: str, path: str, size: int) -> Work:
        status, _, _ = self._server.ask("GET", path)
        if status != HTTPStatus.OK:
            return Work(name, self._server, None, note=f"not there ({status})")
        return Work(name, self._server, itertools.repeat(_get(self._server, path)), size=size)

    def _unchanged(self, dialect: str, path: str) -> Work:
        name = f"304, {dialect}"
        status, headers, _ = self._server.ask("GET", path)
        if status != HTTPStatus.OK or "etag" not in headers:
            return Work(name, self._server, None, note=f"not there ({status})")
        asked = _get(self._server, path, **{"if-none-match": headers["etag"]})
        return Work(name, self._server, itertools.repeat(asked), status=HTTPStatus.NOT_MODIFIED)


def appends(server: Running, scale: Scale, seconds: float) -> Iterator[Work]:
    """Appends by many clients to chats of each size, for `seconds` in all; then the end of one of the longest."""
    longest = ""
    for size in scale.append_sizes:
        # A chat is left alone once it has grown by half, so that what is called a chat of ten stays nearly one.
        growth = max(size // 2, 5)
        active = min(ACTIVE, max(1, MADE_MAX // size))
        count = active * max(1, round(scale.appends_per_s * seconds / growth / active))
        chats = [make_chat(server, size) for _ in range(count)]
        longest = chats[-1]
        requests = [
            load.request("POST", f"{NATIVE}/chats/{chat}/messages", _key(server), _ONE) for chat in chats
        ]
        turns = _in_turn(requests, growth)
        yield Work(f"append at {size:,} messages", server, turns, WRITERS, HTTPStatus.CREATED)
    asked = itertools.repeat(_get(server, f"{NATIVE}/chats/{longest}/messages?order=desc&limit=50"))
    yield Work(f"last 50 of {scale.append_sizes[-1]:,} messages, native", server, asked, OPENERS, size=USUAL)


def make_chat(server: Running, messages: int, model_id: str | None = None) -> str:
    """A chat of so many messages, user and assistant in turn; its id."""
    first = min(messages, PER_CHAT)
    chat = server.make(f"{NATIVE}/chats", {"model_id": model_id, **_said(first)})
    for done in range(first, messages, PER_APPEND):
        server.make(f"{NATIVE}/chats/{chat['id']}/messages", _said(min(PER_APPEND, messages - done)))
    return str(chat["id"])


def _in_turn(requests: list[bytes], times: int) -> Iterator[bytes]:
    """Each `times` times, `ACTIVE` of them side by side."""
    while True:
        for start in range(0, len(requests), ACTIVE):
            side_by_side = requests[start : start + ACTIVE]
            yield from itertools.islice(itertools.cycle(side_by_side), times * len(side_by_side))


def _get(server: Running, path: str, **headers: str) -> bytes:
    return load.request("GET", path, {**_key(server), **headers})


def _key(server: Running) -> dict[str, str]:
    return {"authorization": f"Bearer {server.key}"}


def _said(count: int) -> dict[str, Any]:
    return {"messages": [{"role": ("user", "assistant")[turn % 2], "content": TEXT} for turn in range(count)]}


_ONE = json.dumps(_said(1)).encode()
_MODEL = {"display_name": "Nobody", "context_window": 8192, "provider": "nobody", "model_name": "nobody"}
