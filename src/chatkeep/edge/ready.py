"""Answers that are ready: the same GET again, while nothing that its answer depends on has changed.

`edge.protocol` asks before it begins a request, `edge.app` keeps what a hot route allows (`web.rendered.Kept`). A
commit of any process makes all of them void (docs/adr/0007-answers-that-are-ready.md).
Bodies stay in the cache of rendered chats; here are only heads.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from chatkeep.domain.ids import Clock
from chatkeep.edge.report import Answered
from chatkeep.web.rendered import Key

Header: TypeAlias = tuple[bytes, bytes]
Asked: TypeAlias = tuple[str, bytes, tuple[Header, ...]]

ANSWER_NOW = "chatkeep.answer_now"
"""The extension of ASGI by which an answer that turned out to be ready is sent as it is."""
READY_MAX = 4_000
ASKED_BYTES_MAX = 2_048
REQUEST_ID = b"x-request-id"
UNPLAIN = frozenset((b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"origin"))
"""Headers that make the connection wait for more than the header's end, or whose answer has more than is kept."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The head of an answer up to its request id; `body` is where its body is kept, None where it has none."""

    answered: Answered
    head: bytes
    body: Key | None
    until_us: int


def asked_of(version: str, url: bytes, headers: Iterable[Header]) -> Asked:
    """A GET as what its answer may depend on: all of it but the request's id."""
    return version, url, tuple([header for header in headers if header[0] != REQUEST_ID])


class ReadyAnswers:
    """The answers that are ready now. `moment` is equal to an earlier one only while they are; None: it takes time to
    know, and whoever waited for it says it.
    """

    def __init__(self, moment: Callable[[], Hashable | None], clock: Clock) -> None:
        self.moment = moment
        self._clock = clock
        self._moment: Hashable | None = None
        self._answers: dict[Asked, Ready] = {}

    def find(self, asked: Asked, moment: Hashable | None = None) -> Ready | None:
        """The answer to the same request, if it still is what the ordinary way would give."""
        ready = self._answers.get(asked)
        if (
            ready is None
            or (moment or self.moment()) != self._moment
            or self._clock.now_us() >= ready.until_us
        ):
            return None
        return ready

    def keep(self, asked: Asked, moment: Hashable | None, ready: Ready) -> None:
        """Have an answer ready that was found out after `moment`: for as long as it lasts, which may be over."""
        if moment is None or not _is_plain(asked):
            return
        if moment != self._moment or len(self._answers) >= READY_MAX:
            self._answers.clear()
            self._moment = moment
        self._answers[asked] = ready


def _is_plain(asked: Asked) -> bool:
    """Whether the request ends with its header and leaves the connection open. Short, too: they stay in memory."""
    version, url, headers = asked
    size = len(url)
    for name, value in headers:
        if name in UNPLAIN or (name == b"connection" and value.lower() != b"keep-alive"):
            return False
        size += len(name) + len(value)
    return version == "1.1" and size <= ASKED_BYTES_MAX
