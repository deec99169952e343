"""WebSockets: who may open one, how they say who they are, and how much they may say (design/trust.md T25).

A browser sends its cookies to any server and cannot set headers, so an Origin must be in the operator's list, and a
credential never comes by cookie or in the URL, but where a dialect's own clients put it there: it comes as a bearer
header, or in the first frame.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import orjson
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from chatkeep.domain.errors import (
    ChatkeepError,
    InvalidField,
    MalformedJson,
    MissingCredential,
    NotAllowed,
    RateLimited,
)
from chatkeep.services import credentials
from chatkeep.services.context import Context
from chatkeep.web.credentials import context_of
from chatkeep.web.dialect import Manner, house_of, rechecking
from chatkeep.web.json import decode

GOING_AWAY = 1001
POLICY_VIOLATION = 1008
REASON_BYTES_MAX = 123
CREDENTIAL_PARAMETERS = ("token", "access_token", "api_key", "key", "authorization")


class Socket:
    """One accepted WebSocket of a known caller, whom `who` tells. Frames are JSON objects in both directions."""

    def __init__(
        self,
        websocket: WebSocket,
        ctx: Context,
        who: Callable[[], Awaitable[Context]],
        *,
        messages_per_s: int,
    ) -> None:
        self.ctx = ctx
        self._who = who
        self.heard_s = time.monotonic()
        """When the client said something last."""
        self._websocket = websocket
        self._rate = float(messages_per_s)
        self._allowance = self._rate

    async def recheck(self) -> Context:
        """Look again who the caller is. Raises `Unauthenticated` when the credential is good no more."""
        self.ctx = await self._who()
        return self.ctx

    async def receive(self) -> dict[str, Any] | None:
        """The client's next frame; None when it is gone. Raises `MalformedJson`, and `RateLimited` for too many."""
        text = await _text(self._websocket)
        if text is None:
            return None
        self._spend()
        return _object(text, self.ctx)

    async def send(self, value: object) -> None:
        """One frame. Does nothing when the client is gone."""
        await send(self._websocket, value)

    async def close(self, code: int, reason: str) -> None:
        """End it, unless it has ended."""
        await close(self._websocket, code, reason)

    def _spend(self) -> None:
        now = time.monotonic()
        self._allowance = min(self._rate, self._allowance + (now - self.heard_s) * self._rate)
        self.heard_s = now
        if self._allowance < 1:
            raise RateLimited(1)
        self._allowance -= 1


async def send(websocket: WebSocket, value: object) -> None:
    """One frame. Does nothing when the client is gone."""
    if websocket.application_state is WebSocketState.CONNECTED:
        try:
            await websocket.send_text(orjson.dumps(value).decode())
        except WebSocketDisconnect:
            return


async def close(websocket: WebSocket, code: int, reason: str) -> None:
    """End it, unless it has ended."""
    if websocket.application_state is WebSocketState.CONNECTED:
        await websocket.close(code, reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore"))


def cursor_of(websocket: WebSocket) -> int | None:
    """Where in the journal a client wants to go on: `?after=`, if it says so. Raises `InvalidField`."""
    text = websocket.query_params.get("after")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InvalidField("after", "must be the seq of an event of this chat")
    return int(text)


async def until_either(*works: Coroutine[Any, Any, None]) -> None:
    """Do all of it until one is done or fails; the others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()


async def is_foreign(websocket: WebSocket, manner: Manner) -> bool:
    """Whether it comes from a web page of an origin that is not allowed; then it was refused, in the dialect's shape.

    Browsers name the page's origin, and no page can forge it; whoever sends none is no browser.
    """
    origin = websocket.headers.get("origin")
    if origin is not None and origin not in house_of(websocket).system.policy.allowed_origins:
        error = NotAllowed("WebSockets from this origin are not allowed.")
        await websocket.send_denial_response(manner.write_error(error, "GET"))
        return True
    return False


async def admit(websocket: WebSocket, manner: Manner) -> Socket | None:
    """Accept the connection of a caller who may be here; None when it was refused, with an HTTP status in the dialect's
    shape before it is accepted, or a close frame after it.
    """
    ctx: Context | None = None
    if await is_foreign(websocket, manner):
        return None
    try:
        if any(name in websocket.query_params for name in CREDENTIAL_PARAMETERS):
            raise InvalidField("query", "a credential must not be in the URL; send it in the first frame")
        try:
            ctx = await context_of(house_of(websocket), websocket, manner.finders)
        except MissingCredential:
            pass  # it may come in the first frame
    except ChatkeepError as error:
        await websocket.send_denial_response(manner.write_error(error, "GET"))
        return None
    await websocket.accept()
    if ctx is not None:
        return _socket(websocket, ctx, rechecking(manner, websocket))
    return await _by_first_frame(websocket)


async def _by_first_frame(websocket: WebSocket) -> Socket | None:
    system = house_of(websocket).system
    try:
        async with asyncio.timeout(system.limits.websocket_credential_s):
            text = await _text(websocket)
        if text is None:
            return None
        value = decode(text.encode(), system.limits)
        secret = value.get("token") if isinstance(value, dict) and value.get("type") == "auth" else None
        if not isinstance(secret, str):
            raise MissingCredential()
        token = secret
        ctx = await _authenticated(websocket, token)
        return _socket(websocket, ctx, lambda: _authenticated(websocket, token))
    except TimeoutError:
        await websocket.close(POLICY_VIOLATION, "no credential came in time")
    except ChatkeepError as error:
        await close(websocket, POLICY_VIOLATION, str(error))
    return None


def _socket(websocket: WebSocket, ctx: Context, who: Callable[[], Awaitable[Context]]) -> Socket:
    return Socket(websocket, ctx, who, messages_per_s=ctx.system.limits.websocket_messages_per_s)


async def _authenticated(connection: HTTPConnection, secret: str) -> Context:
    system = house_of(connection).system
    return Context(system, await credentials.authenticate(system, secret))


async def _text(websocket: WebSocket) -> str | None:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        return None
    text: str | None = message.get("text")
    if text is None:
        raise MalformedJson("Frames are text: one JSON object each.")
    return text


def _object(text: str, ctx: Context) -> dict[str, Any]:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise MalformedJson("The frame holds a lone surrogate.") from None
    value = decode(raw, ctx.system.limits)
    if not isinstance(value, dict):
        raise MalformedJson("Frames are JSON objects.")
    return value
