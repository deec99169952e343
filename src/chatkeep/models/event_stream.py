"""Server-sent events out of raw bytes, for the models whose answers arrive that way.

Bytes may be split anywhere, lines end in LF or CRLF, comments and unknown fields are passed over. Memory is bounded by
`EVENT_BYTES_MAX`. Only the `data` of an event is given: none of the model APIs read here says anything elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

EVENT_BYTES_MAX = 1024 * 1024


class EventTooLong(ValueError):
    """One line or one event is longer than `EVENT_BYTES_MAX`."""


class EventStream:
    """Feed it what the socket gives; it gives the data of each event once the event is whole."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The data of the events that `received` completes; exhaust it before feeding more. Raises `EventTooLong`."""
        *whole, rest = received.split(b"\n")
        for line in whole:
            if self._line:
                self._line += line
                line = bytes(self._line)
                self._line.clear()
            if (data := self._take(line)) is not None:
                yield data
        self._line += rest
        self._check(len(self._line))

    def flush(self) -> Iterator[bytes]:
        """The data of a last event whose blank line never came. Raises `EventTooLong`."""
        line = bytes(self._line)
        self._line.clear()
        for one in (line, b""):
            if (data := self._take(one)) is not None:
                yield data

    def _take(self, line: bytes) -> bytes | None:
        line = line.removesuffix(b"\r")
        self._check(len(line) + self._data_bytes)
        if line.startswith(b"data:"):
            data = line[5:].removeprefix(b" ")
            self._data.append(data)
            self._data_bytes += len(data)
        elif not line and self._data:
            event = b"\n".join(self._data)
            self._data.clear()
            self._data_bytes = 0
            return event
        return None

    def _check(self, size: int) -> None:
        if size > EVENT_BYTES_MAX:
            raise EventTooLong(f"an event of more than {EVENT_BYTES_MAX} bytes")
