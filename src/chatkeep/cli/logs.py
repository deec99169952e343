"""Structured logs on standard error: one JSON object a line, or coloured text for people."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import BinaryIO

import orjson
import structlog


class RequestLines:
    """Writes lines to a stream, those of one turn of the event loop together: a system call a turn, not a request."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._waiting: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Have one line written, without its end, before the loop waits again. Needs the running loop."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(line)

    def flush(self) -> None:
        """Write what waits, as after the loop's end."""
        lines, self._waiting = self._waiting, []
        if lines:
            self._stream.write(b"\n".join((*lines, b"")))
            self._stream.flush()


def configure(level: str, form: str) -> None:
    """Set up logging for the process."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(
        level=max(number, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        structlog.configure(
            processors=[
                *shared,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(orjson.dumps),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(number),
            logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
            cache_logger_on_first_use=True,
        )
    else:
        structlog.configure(
            processors=[*shared, structlog.dev.ConsoleRenderer()],
            wrapper_class=structlog.make_filtering_bound_logger(number),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
            cache_logger_on_first_use=True,
        )
