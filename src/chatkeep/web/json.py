"""Strict JSON: what every dialect reads bodies with, and writes answers with.

One decoder, because parsers differ in what they let through (design/trust.md F6-F8): UTF-8 only, finite numbers that
keep their value, unique keys, no lone surrogates, no NUL, and bounds on depth, values, keys, strings and digits.
FastAPI's body parameters are fed from it by `StrictRoute`; hot routes call `read_json`. Raises `MalformedJson`,
`InvalidField` and `UnsupportedMediaType`, which the dialect renders.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import orjson
from fastapi import params
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from chatkeep.domain.errors import InvalidField, MalformedJson, UnsupportedMediaType
from chatkeep.domain.json import JsonValue
from chatkeep.domain.limits import Limits
from chatkeep.web.house import House
from chatkeep.web.openapi import DocumentedRoute

ON_LOOP_BYTES_MAX = 64 * 1024
"""Larger bodies are decoded in a thread: a millisecond is what the loop can spare."""

SMALL_BYTES_MAX = 512
"""Up to here counting in the whole text is cheaper than taking its strings out first."""

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**64 - 1
SHOWN_CHARACTERS_MAX = 80

_NUMBER = re.compile(rb"[-+.0-9eE]+")
_LONG_INTEGER = re.compile(rb"(?<![-+.0-9eE])-?[0-9]{19,}(?![.0-9eE])")

Path = tuple[str | int, ...]


def dumps(value: object) -> bytes:
    """`value` as UTF-8 JSON. Raises TypeError for what JSON cannot say, lone surrogates included."""
    return orjson.dumps(value)


def decode(raw: bytes, limits: Limits) -> JsonValue:
    """The value of one strict JSON text, or `MalformedJson`; `InvalidField` where a string or key holds NUL.

    Integers beyond 64 bits and numbers beyond a double's range are refused, as they would change silently. Most is
    ruled out by counting bytes outside strings, of a small text even with its strings until that leaves a doubt.
    """
    is_small = len(raw) <= min(SMALL_BYTES_MAX, limits.json_nodes_max, limits.json_digits_max)
    structure = raw if is_small else _without_strings(raw, limits)
    if len(structure) > limits.json_nodes_max and _count_values(structure) > limits.json_nodes_max:
        raise _too_many_values(limits)
    try:
        value: JsonValue = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise MalformedJson(_sentence(raw, error)) from None
    keys, has_huge_number = _measure(value, limits)
    if is_small and (keys != raw.count(b":") or has_huge_number):
        structure = _without_strings(raw, limits)
    if keys != structure.count(b":"):
        raise MalformedJson(f"The key {_duplicate_key(raw)} occurs twice in one object.")
    if has_huge_number or len(structure) > limits.json_digits_max:
        _check_numbers(structure, limits)
    if len(raw) > limits.json_string_bytes_max:
        _check_strings(value, limits)
    if b"\\" in raw and b"\\u0000" in raw:
        _check_nul(value)
    return value


async def decode_async(raw: bytes, limits: Limits) -> JsonValue:
    """`decode`, in a thread where the body is large."""
    if len(raw) <= ON_LOOP_BYTES_MAX:
        return decode(raw, limits)
    return await asyncio.to_thread(decode, raw, limits)


async def read_json(request: Request, limits: Limits) -> JsonValue:
    """The request's body, decoded. Raises `UnsupportedMediaType` for a content type that is not JSON's."""
    raw = await _body(request)
    if not raw:
        raise MalformedJson("The request has no body.")
    _check_media_type(request)
    return await decode_async(raw, limits)


class StrictRequest(Request):
    """A request whose `json()` is strict."""

    def fill(self) -> None:
        """Take an absent body for an empty object, whatever its type was said to be."""
        self._body = b"{}"
        self.scope["headers"] = [each for each in self.scope["headers"] if each[0] != b"content-type"]

    async def json(self) -> Any:
        """The body, decoded once."""
        if not hasattr(self, "_json"):
            house: House = self.app.state.house
            self._json = await read_json(self, house.system.limits)
        return self._json


class StrictRoute(DocumentedRoute):
    """A route whose JSON body is decoded strictly, whether it declares the body or calls `request.json()`.

    A missing content type counts as JSON, an absent body as `{}` where the body's default is an object. The body is
    decoded before FastAPI looks at it, which then finds it done: an error raised within FastAPI's own reading would
    come out as a plain 400.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **{**options, "strict_content_type": False})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler with strict reading before it."""
        handler = super().get_route_handler()
        if self.body_field is None and (self.methods or set()) <= {"GET", "HEAD"}:
            return handler
        declares_json = self.body_field is not None and not isinstance(
            self.body_field.field_info, params.Form
        )
        may_be_absent = self.body_field is not None and isinstance(
            self.body_field.field_info.default, BaseModel
        )

        async def handle_strictly(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            if not declares_json:
                return await handler(strict)
            if await _body(strict):
                # FastAPI would take null for an absent body.
                if await strict.json() is None and may_be_absent:
                    raise InvalidField("body", "must be an object")
            elif may_be_absent:
                strict.fill()
            return await handler(strict)  # which names the missing field, if there is one

        return handle_strictly


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect:
        raise MalformedJson("The request body is incomplete.") from None  # nobody is left to read it


def _check_media_type(request: Request) -> None:
    given = request.headers.get("content-type", "application/json")
    essence = given.partition(";")[0].strip().lower()
    if essence != "application/json" and not (
        essence.startswith("application/") and essence.endswith("+json")
    ):
        raise UnsupportedMediaType("The request body must be JSON: content-type application/json.")


def _count_values(structure: bytes) -> int:
    """Every comma is followed by a value, every container begins with one unless it is empty, and there is the root."""
    text = structure.translate(None, b" \t\r\n")
    firsts = text.count(b"{") + text.count(b"[") - text.count(b"{}") - text.count(b"[]")
    return 1 + text.count(b",") + firsts


def _without_strings(raw: bytes, limits: Limits) -> bytes:
    """The text with a single quote mark for each string; of a broken text, right up to where it breaks."""
    text = raw
    if b"\\" in raw:
        # A run of backslashes is read in pairs from its start; what one is left over escapes the character after it.
        text = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    if text.count(b'"') > 4 * limits.json_nodes_max:  # more strings than keys and values may be
        raise _too_many_values(limits)
    return b'"'.join(text.split(b'"')[::2])


def _digits(text: bytes) -> int:
    return len(text) - len(text.translate(None, b"0123456789"))


def _too_many_values(limits: Limits) -> MalformedJson:
    return MalformedJson(f"The JSON has more than {limits.json_nodes_max} values.")


def _sentence(raw: bytes, error: orjson.JSONDecodeError) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in raw[:4]:
        return "The JSON must be UTF-8; this looks like UTF-16 or UTF-32."
    return f"The body is not valid JSON: {error.msg}, at line {error.lineno} column {error.colno}."


def _measure(value: JsonValue, limits: Limits) -> tuple[int, bool]:
    """How many keys there are, and whether some number is beyond 63 bits; raises for depth and keys of one object."""
    keys, depth, has_huge_number = 0, 0, False
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    if not level:
        return 0, _is_huge(value)
    while level:
        depth += 1
        if depth > limits.json_depth_max:
            raise MalformedJson(f"The JSON is nested deeper than {limits.json_depth_max} levels.")
        deeper = []
        for container in level:
            if type(container) is dict:
                keys += len(container)
                if len(container) > limits.json_keys_max:
                    raise MalformedJson(f"An object of the JSON has more than {limits.json_keys_max} keys.")
                container = container.values()
            for child in container:
                kind = type(child)
                if kind is dict or kind is list:
                    deeper.append(child)
                elif kind is float and not INTEGER_MIN < child < -INTEGER_MIN:
                    has_huge_number = True
        level = deeper
    return keys, has_huge_number


def _is_huge(value: JsonValue) -> bool:
    return isinstance(value, float) and not INTEGER_MIN < value < -INTEGER_MIN


def _check_numbers(structure: bytes, limits: Limits) -> None:
    if _digits(structure) > limits.json_digits_max:
        for number in _NUMBER.findall(structure):
            if _digits(number) > limits.json_digits_max:
                raise MalformedJson(f"A number of the JSON has more than {limits.json_digits_max} digits.")
    for integer in _LONG_INTEGER.findall(structure):
        if not INTEGER_MIN <= int(integer) <= INTEGER_MAX:  # orjson has made it a double, with other digits
            raise MalformedJson("An integer of the JSON is out of range: 64 bits are what is kept exactly.")


def _duplicate_key(raw: bytes) -> str:
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    json.loads(raw, object_pairs_hook=note)
    return json.dumps(found[0][:SHOWN_CHARACTERS_MAX], ensure_ascii=False)


def _check_strings(value: JsonValue, limits: Limits) -> None:
    for path, text in _strings(value):
        if len(text) * 4 > limits.json_string_bytes_max and len(text.encode()) > limits.json_string_bytes_max:
            raise MalformedJson(
                f"A string of the JSON is longer than {limits.json_string_bytes_max} bytes: {_field(path)}."
            )


def _check_nul(value: JsonValue) -> None:
    for path, text in _strings(value):
        if "\x00" in text:
            raise InvalidField(_field(path), "must not contain NUL")


def _strings(value: JsonValue) -> Iterator[tuple[Path, str]]:
    """Every string and where it is; every key, and where its object is."""
    waiting: list[tuple[Path, JsonValue]] = [((), value)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, str):
            yield path, node
        elif isinstance(node, list):
            waiting.extend(((*path, index), child) for index, child in enumerate(node))
        elif isinstance(node, dict):
            yield from ((path, key) for key in node)
            waiting.extend(((*path, key), child) for key, child in node.items())


def _field(path: Path) -> str:
    return ".".join(str(part)[:SHOWN_CHARACTERS_MAX] for part in path) or "body"
