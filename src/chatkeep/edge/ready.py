"""Answers that are ready: the same GET again, while nothing that its answer depends on has changed.

`edge.protocol` asks before it begins a request and holds it until it is told, which takes a moment where the store's
server must be asked. `edge.app` keeps what a hot route allows (`web.rendered.Kept`). A commit of any process makes all
of them void (docs/adr/0007-answers-that-are-ready.md).
Bodies stay in the cache of rendered chats; here are only heads.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from chatkeep.domain.ids import Clock
from chatkeep.edge.report import Answered
from chatkeep.web.rendered import Key

Header: TypeAlias = tuple[bytes, bytes]
Asked: TypeAlias = tuple[bytes, tuple[Header, ...]]
Found: TypeAlias = tuple[int, bytes, bytes]
"""Status, header lines with the empty one at their end, and body."""

READY_MAX = 4_000
ASKED_BYTES_MAX = 2_048
REQUEST_ID = b"x-request-id"
UNPLAIN = frozenset((b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"origin"))
"""Headers that make the connection wait for more than the header's end, or whose answer has more than is kept."""


@runtime_checkable
class KeepsReady(Protocol):
    """An application that has answers ready; see `edge.app.Edge`."""

    def tell_moment(self, listener: Callable[[Hashable | None], object]) -> None: ...

    def answer_at_once(
        self, asked: Asked, headers: list[Header], moment: Hashable | None, started_s: float
    ) -> Found | None: ...


@dataclass(frozen=True, slots=True)
class Ready:
    """The head of an answer up to its request id; `body` is where its body is kept, None where it has none."""

    answered: Answered
    head: bytes
    body: Key | None
    until_us: int


def asked_of(version: str, url: bytes, headers: Iterable[Header]) -> Asked | None:
    """A GET as what its answer may depend on: all of it but the request's id. None where no answer to it is kept: where
    the request does not end with its header or leave the connection open, its URL is not a path of ASCII (so that
    nothing can be wrong with it), or it is too long to stay in memory.
    """
    if version != "1.1" or not url.startswith(b"/") or not url.isascii():
        return None
    size = len(url)
    asked = []
    for header in headers:
        name, value = header
        if name == REQUEST_ID:
            continue
        if name in UNPLAIN or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
        size += len(name) + len(value)
        asked.append(header)
    return (url, tuple(asked)) if size <= ASKED_BYTES_MAX else None


class ReadyAnswers:
    """The answers that are ready at one moment of the store, which is equal to an earlier one only while they are."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moment: Hashable | None = None
        self._answers: dict[Asked, Ready] = {}

    def find(self, asked: Asked, moment: Hashable | None) -> Ready | None:
        """The answer to the same request, if it is at this moment what the ordinary way would give."""
        ready = self._answers.get(asked)
        if ready is None or moment != self._moment or self._clock.now_us() >= ready.until_us:
            return None
        return ready

    def keep(self, asked: Asked, moment: Hashable | None, ready: Ready) -> None:
        """Have an answer ready that was found out after `moment`: for as long as it lasts, which may be over."""
        if moment is None:
            return
        if moment != self._moment or len(self._answers) >= READY_MAX:
            self._answers.clear()
            self._moment = moment
        self._answers[asked] = ready
