"""JSON answers, written by orjson."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response


class JsonAnswer(Response):
    """A JSON answer. Text is written as UTF-8, times have been turned into text or numbers by the dialect."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The content as JSON bytes."""
        return write(content)


def write(content: Any) -> bytes:
    """JSON bytes of a wire value."""
    return orjson.dumps(content)
