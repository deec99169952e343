"""The chunks of an OpenAI chat completion, understood: pieces of text out of JSON, sources, calls of tools, and how the
answer ended.

Pure: no I/O. Knows the fields that OpenAI, llama.cpp, vLLM, DeepSeek and OpenRouter send; passes over the rest.
"""

from __future__ import annotations

import json
from typing import Any, TypeGuard

import orjson

from chatkeep.domain.money import reported_cost
from chatkeep.domain.usage import Usage
from chatkeep.models.citations import Citations
from chatkeep.models.malformed import Malformed
from chatkeep.models.output_text import OutputText, clean
from chatkeep.models.port import Counted, Finished, Piece, ReasoningDelta, TextDelta
from chatkeep.models.tool_calls import ToolCalls

_REASON_CHARACTERS_MAX = 64
_TOKENS_MAX = 2**53


def parse_json(data: bytes) -> Any:
    """The JSON value in `data`; escaped lone surrogates and broken UTF-8 are let through. Raises `Malformed`."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass  # orjson refuses lone surrogates, and half a surrogate pair is what a split character looks like
    try:
        return json.loads(data.decode(errors="replace"))
    except (ValueError, RecursionError):
        raise Malformed(f"not JSON: {data[:80].decode(errors='replace')}") from None


class CompletionStream:
    """One answer as far as it has been heard."""

    def __init__(self) -> None:
        self.has_begun = False  # a first piece, or the end, was heard
        self.is_done = False  # the upstream said that nothing follows
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._text = OutputText()
        self._reasoning = OutputText()
        self._calls = ToolCalls()
        self._citations = Citations()

    @property
    def is_whole(self) -> bool:
        """Whether the answer is complete; only the usage may still follow."""
        return self.is_done or self._reason is not None

    def take(self, data: bytes) -> list[Piece]:
        """The pieces in one event's data. Raises `Malformed`, but not once the answer is whole."""
        if self.is_done:
            return []
        try:
            return self._take(data)
        except Malformed:
            if not self.is_whole:
                raise
            self.is_done = True  # whatever it was, the answer came before it
            return []

    def finish(self) -> list[Piece]:
        """The end of the answer. Raises `Malformed` when it was broken off."""
        if not self.is_whole:
            raise Malformed("the stream ended before the answer did")
        reason = self._reason or "unknown"
        pieces = _pieces(self._reasoning.flush(), self._text.flush())
        return [*pieces, *self._calls.whole(reason), Finished(self._usage, reason)]

    def _take(self, data: bytes) -> list[Piece]:
        if data == b"[DONE]":
            self.is_done = self.has_begun = True
            return []
        chunk = parse_json(data)
        if not isinstance(chunk, dict):
            raise Malformed("a chunk that is not an object")
        if error := chunk.get("error"):
            raise Malformed(_error_sentence(error))
        counted = _usage(chunk)
        # Only one answer was asked for, so any with another index is passed over.
        choices = [choice for choice in _objects(chunk.get("choices")) if not choice.get("index")]
        pieces = [piece for choice in choices for piece in self._take_choice(choice)]
        if "citations" in chunk or "search_results" in chunk:
            pieces += self._citations.hear_lists(chunk)
        if counted is not None:
            self._usage = counted
            if not self.is_whole:
                pieces.append(Counted(counted))
        return pieces

    def _take_choice(self, choice: dict[str, Any]) -> list[Piece]:
        delta, message = choice.get("delta"), choice.get("message")
        pieces = self._take_delta(delta) if isinstance(delta, dict) else []
        if isinstance(message, dict):
            pieces += self._citations.hear_notes(message.get("annotations"))
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self._reason = clean(reason)[:_REASON_CHARACTERS_MAX]
            self.has_begun = True
        return pieces

    def _take_delta(self, delta: dict[str, Any]) -> list[Piece]:
        thought = _text(delta, "reasoning_content") or _text(delta, "reasoning")
        text = _text(delta, "content")
        pieces = _pieces(self._reasoning.feed(thought), self._text.feed(text))
        if "tool_calls" in delta:
            calls = _objects(delta["tool_calls"])
            self._calls.hear(calls)
            self.has_begun = self.has_begun or bool(calls)
        if "annotations" in delta:
            pieces += self._citations.hear_notes(delta["annotations"])
        self.has_begun = self.has_begun or bool(pieces)
        return pieces


def _pieces(thought: str, text: str) -> list[Piece]:
    pieces: list[Piece] = []
    if thought:
        pieces.append(ReasoningDelta(thought))
    if text:
        pieces.append(TextDelta(text))
    return pieces


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(delta: dict[str, Any], field: str) -> str:
    value = delta.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"a chunk whose {field} is not text")
    return value


def _usage(chunk: dict[str, Any]) -> Usage | None:
    usage, timings = chunk.get("usage"), chunk.get("timings")
    if isinstance(usage, dict):
        read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if _is_count(read) and _is_count(written):
            return Usage(read, written, reported_cost(usage.get("cost")))  # OpenRouter tells it
    if isinstance(timings, dict):  # llama.cpp's, with every chunk if it is asked to
        kept, read, written = (timings.get(name) for name in ("cache_n", "prompt_n", "predicted_n"))
        if _is_count(kept) and _is_count(read) and _is_count(written):
            return Usage(kept + read, written)
    return None


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= _TOKENS_MAX


def _error_sentence(error: object) -> str:
    message = error.get("message") if isinstance(error, dict) else error
    return f"upstream error: {message if isinstance(message, str) else error}"
