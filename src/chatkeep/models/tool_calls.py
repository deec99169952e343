"""The calls of tools in an OpenAI completion, put together from the pieces in which they are streamed.

OpenAI numbers the calls and gives id and name with the first piece; others leave the numbers out, number every call 0,
repeat the id with each piece, send a call whole, or its arguments as an object. Pure: no I/O.
"""

from __future__ import annotations

import json
from typing import Any

from chatkeep.models.malformed import Malformed
from chatkeep.models.output_text import clean
from chatkeep.models.port import ToolCall

CALLS_MAX = 128
ARGUMENTS_BYTES_MAX = 100_000
"""Of all calls of one answer together: as much as a message may hold."""
NAME_CHARACTERS_MAX = 200
_LIMITS = frozenset({"length", "content_filter"})


class _Call:
    def __init__(self, index: object, call_id: str) -> None:
        self.index = index
        self.id = call_id
        self.name = ""
        self.pieces: list[str] = []

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class ToolCalls:
    """The calls of one answer as far as they were heard."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._size = 0

    def hear(self, pieces: list[dict[str, Any]]) -> None:
        """Take the pieces in one chunk. Raises `Malformed` for more than an answer may hold."""
        for piece in pieces:
            function = piece.get("function")
            if not isinstance(function, dict):
                continue
            name, arguments = _text(function.get("name")), _arguments(function.get("arguments"))
            call = self._call_of(piece.get("index"), _text(piece.get("id")), name)
            call.name = call.name or name
            call.pieces.append(arguments)
            self._size += len(arguments.encode(errors="replace"))
            if self._size > ARGUMENTS_BYTES_MAX:
                raise Malformed(f"calls of tools with more than {ARGUMENTS_BYTES_MAX} bytes of arguments")

    def whole(self, reason: str) -> list[ToolCall]:
        """The calls once the answer has ended for this `reason`; one that a limit broke off is left out."""
        calls = [call for call in self._calls if call.name]
        if reason in _LIMITS and calls and not _is_json(calls[-1].arguments):
            calls.pop()
        return [ToolCall(clean(call.id), clean(call.name), clean(call.arguments) or "{}") for call in calls]

    def _call_of(self, index: object, call_id: str, name: str) -> _Call:
        found = self._continued(index, call_id, name)
        if found is None:
            if len(self._calls) == CALLS_MAX:
                raise Malformed(f"more than {CALLS_MAX} calls of tools")
            found = _Call(index, call_id)
            self._calls.append(found)
        return found

    def _continued(self, index: object, call_id: str, name: str) -> _Call | None:
        """The call that a piece goes on with; None where it begins one."""
        if name and call_id:
            return next((call for call in self._calls if call.id == call_id), None)
        if index is not None:  # the newest first: where every call is numbered 0, the last one grows
            return next((call for call in reversed(self._calls) if call.index == index), None)
        last = self._calls[-1] if self._calls else None
        if last is not None and name and (last.name not in ("", name) or _is_json(last.arguments)):
            return None
        return last


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    if len(value) > NAME_CHARACTERS_MAX:
        raise Malformed(f"a call of a tool whose name or id has more than {NAME_CHARACTERS_MAX} characters")
    return value


def _arguments(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
