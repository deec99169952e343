"""The bounds of a request's body: bytes, first byte, pace, whole time.

`guarded` wraps ASGI's `receive`, so that an error is raised where the body is read: inside the dialect, which
renders it in its own shape. The edge puts it around every request that reaches a dialect; a GET costs one look-up.
What a connection may do before its body is `edge.protocol`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from time import monotonic
from typing import Any, cast

from starlette.types import Message, Receive, Scope

from chatkeep.domain.errors import BodyTooLarge, BodyTooSlow, UnsupportedMediaType
from chatkeep.domain.limits import Limits

WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


def guarded(receive: Receive, scope: Scope, limits: Limits, *, bytes_max: int | None = None) -> Receive:
    """A `receive` for this request that raises `BodyTooLarge`, `BodyTooSlow` or `UnsupportedMediaType`.

    `bytes_max` is for paths that take more than `limits.body_bytes_max`. A Content-Length over the limit and a
    Content-Encoding are refused before the first byte is asked for. The time between two chunks counts only while
    the server waits for the client: slow work on what has arrived is not the client's fault.
    """
    if scope["method"] in WITHOUT_BODY:
        return receive
    return _Body(receive, scope, limits, bytes_max or limits.body_bytes_max).receive


class _Body:
    __slots__ = ("_bytes", "_bytes_max", "_is_over", "_limits", "_receive", "_scope", "_waited_s")

    def __init__(self, receive: Receive, scope: Scope, limits: Limits, bytes_max: int) -> None:
        self._receive = receive
        self._scope = scope
        self._limits = limits
        self._bytes_max = bytes_max
        self._bytes = -1  # before the first call
        self._waited_s = 0.0
        self._is_over = False

    async def receive(self) -> Message:
        if self._is_over:
            return await self._receive()  # the news of a disconnect, which may take for ever
        self._is_over = True  # unless the message says otherwise; after an error too
        if self._bytes < 0:
            self._check_headers()
            self._bytes = 0
        message = await self._next_in_time()
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            if self._bytes > self._bytes_max:
                raise self._too_large()
            self._is_over = not message.get("more_body", False)
        return message

    def _check_headers(self) -> None:
        for name, value in self._scope["headers"]:
            # The parser has seen to it that the length is a number and comes once.
            if name == b"content-length" and int(value) > self._bytes_max:
                raise self._too_large()
            if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                raise UnsupportedMediaType("The request body must not be compressed.")

    async def _next_in_time(self) -> Message:
        limits = self._limits
        allowed_s = min(
            limits.body_total_s, limits.body_first_byte_s + self._bytes / limits.body_rate_min_bytes_per_s
        )
        step = cast("Coroutine[Any, Any, Message]", self._receive())
        try:
            awaited = step.send(None)
        except StopIteration as done:
            return cast("Message", done.value)  # it was there already: most bodies come with their header
        began_s = monotonic()
        try:
            async with asyncio.timeout(allowed_s - self._waited_s):
                return await _Begun(step, awaited)
        except TimeoutError:
            raise BodyTooSlow("The request body did not arrive in time.") from None
        finally:
            self._waited_s += monotonic() - began_s

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The request body is larger than {self._bytes_max} bytes.")


class _Begun:
    """A coroutine whose first step was made by hand: awaiting this goes on from there, at a timer's cost only then."""

    __slots__ = ("_awaited", "_step")

    def __init__(self, step: Coroutine[Any, Any, Message], awaited: object) -> None:
        self._step = step
        self._awaited: object | None = awaited

    def __await__(self) -> Generator[Any, Any, Message]:
        return cast("Generator[Any, Any, Message]", self)

    def __iter__(self) -> _Begun:
        return self

    def __next__(self) -> object:
        return self.send(None)

    def send(self, value: object) -> object:
        if self._awaited is not None:
            awaited, self._awaited = self._awaited, None
            return awaited
        return self._step.send(value)

    def throw(self, *error: Any) -> object:
        return self._step.throw(*error)

    def close(self) -> None:
        self._step.close()
