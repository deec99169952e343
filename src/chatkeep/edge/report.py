"""What is told of each answered request: one line of JSON and the counts. Never texts, query strings or credentials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from chatkeep.domain.ids import Clock
from chatkeep.domain.text import iso_z
from chatkeep.edge.metrics import Metrics

WEBSOCKET = "WEBSOCKET"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", WEBSOCKET}


@dataclass(frozen=True, slots=True)
class Answered:
    """One kind of answered request; `fields` is how the log tells it."""

    door: str
    method: str
    status: int
    fields: str


def answered(door: str, method: str, path: str, status: int) -> Answered:
    """The values of one answered request; methods that are nobody's count as OTHER."""
    known = method if method in METHODS else "OTHER"
    quoted = orjson.dumps(path).decode()
    return Answered(
        door, known, status, f'"method":"{known}","path":{quoted},"status":{status},"door":"{door}"'
    )


class Reporter:
    """Counts and logs answered requests. `lines` takes one JSON line for each."""

    def __init__(self, metrics: Metrics, clock: Clock, lines: Callable[[bytes], object] | None) -> None:
        self.lines = lines
        self._metrics = metrics
        self._clock = clock

    def report(self, what: Answered, request_id: str, seconds: float) -> None:
        """One answered request. `request_id` is letters, digits and `-` alone, so nothing needs quoting."""
        self._metrics.observe(what.door, what.method, what.status, seconds)
        if self.lines is not None:
            self.lines(
                f'{{"timestamp":"{iso_z(self._clock.now_us())}","level":"info","event":"request",'
                f'{what.fields},"request_id":"{request_id}","ms":{seconds * 1000:.2f}}}'.encode()
            )
