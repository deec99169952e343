"""A client of the native API for `chatkeep chat`: plain HTTP, one connection a request, events as they arrive.

Written on `http.client` because it must start fast, stop at once with Ctrl-C and ask no proxy on the way to loopback.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import orjson

from chatkeep import __version__

PREFIX = "/chatkeep/v1"
SILENCE_S = 60.0
"""The server sends a heartbeat every 15 s while it thinks."""

REASON_CHARACTERS_MAX = 300
PASSING = frozenset({"shutting_down", "store_busy"})
SERVERS_FAULT = 5
"""What the status of a proxy begins with whose server is away."""
SEQ_DIGITS_MAX = 16
OPEN = "open"
"""The name of the event that no server sends: the stream has begun."""


class Unreachable(Exception):
    """Nobody answers there, or stopped answering; the text says what was seen."""


class Refused(Exception):
    """The server said no; `code` is the API's own, empty when it was not chatkeep who answered."""

    def __init__(self, sentence: str, code: str = "", *, is_passing: bool = False) -> None:
        super().__init__(sentence)
        self.code = code
        self.is_passing = is_passing or code in PASSING
        """Whether the same request may well succeed in a moment: the server is starting, ending or busy."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a stream, its data read from JSON; `seq` is the cursor to come back with."""

    name: str
    data: Any
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Remote:
    """A server at `url`. `sign` gives the bearer credential, asked anew for every request."""

    url: str
    sign: Callable[[], str]

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON, None for an empty one. Raises `Refused` and `Unreachable`."""
        with self._answer(method, path, body) as answer:
            text = answer.read()
        return _json(text) if text else None

    def events(
        self, method: str, path: str, body: object = None, *, key: str | None = None
    ) -> Generator[ServerEvent, None, None]:
        """The events a request is answered with, after an `OPEN` of our own. `key`: its Idempotency-Key.

        Raises `Refused` and `Unreachable`; ends where the server ends the stream, whole or not.
        """
        with self._answer(method, path, body, key) as answer:
            yield ServerEvent(OPEN, None)
            yield from read_events(answer)

    @contextmanager
    def _answer(self, method: str, path: str, body: object, key: str | None = None) -> Iterator[HTTPResponse]:
        place = urlsplit(self.url)
        kind = HTTPSConnection if place.scheme == "https" else HTTPConnection
        connection = kind(place.hostname or "", place.port, timeout=SILENCE_S)
        headers = {
            "authorization": f"Bearer {self.sign()}",
            "content-type": "application/json",
            "user-agent": f"chatkeep/{__version__}",
        }
        if key is not None:
            headers["idempotency-key"] = key
        try:
            content = None if body is None else orjson.dumps(body)
            connection.request(method, place.path.rstrip("/") + PREFIX + path, content, headers)
            answer = connection.getresponse()
            if answer.status // 100 != 2:
                raise _refusal(answer)
            yield answer
        except TimeoutError:
            raise Unreachable(f"silent for {SILENCE_S:g} s") from None
        except (OSError, HTTPException) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise Unreachable((reason or str(error) or type(error).__name__).lower()) from None
        finally:
            connection.close()


def read_events(lines: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Server-sent events out of lines: comments are passed over, an event without its blank line is no event."""
    name, seq, data = "message", None, list[bytes]()
    for line in lines:
        line = line.rstrip(b"\r\n")
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode(errors="replace")
        elif field == b"id":
            seq = int(value) if value.isdigit() and len(value) <= SEQ_DIGITS_MAX else None
        elif not line:
            if data:
                yield ServerEvent(name, _json(b"\n".join(data)), seq)
            name, seq, data = "message", None, []


def _refusal(answer: HTTPResponse) -> Refused:
    problem = _json(answer.read())
    if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
        return Refused(problem["detail"][:REASON_CHARACTERS_MAX], str(problem.get("code", "")))
    is_passing = answer.status // 100 == SERVERS_FAULT
    return Refused(
        f"It answered {answer.status} {answer.reason}, and not as chatkeep does.", is_passing=is_passing
    )


def _json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
