"""WebSockets: who may open one, how they say who they are, and how much they may say (design/trust.md T25).

A browser sends its cookies to any server and cannot set headers, so an Origin must be in the operator's list, and a
credential never comes by cookie or in the URL: it comes as a bearer header, or in the first frame.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
from starlette.datastructures import Headers
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
from chatkeep.web.dialect import Manner, house_of
from chatkeep.web.json import decode

POLICY_VIOLATION = 1008
CREDENTIAL_PARAMETERS = ("token", "access_token", "api_key", "key", "authorization")


class Socket:
    """One accepted WebSocket of a known caller. Frames are JSON objects in both directions."""

    def __init__(self, websocket: WebSocket, ctx: Context, manner: Manner, secret: str | None) -> None:
        self.ctx = ctx
        self._websocket = websocket
        self._manner = manner
        self._secret = secret
        self._allowance = float(ctx.system.limits.websocket_messages_per_s)
        self._refilled = time.monotonic()

    async def receive(self) -> dict[str, Any] | None:
        """The client's next frame; None when it is gone. Raises `MalformedJson`, and `RateLimited` for too many."""
        text = await _text(self._websocket)
        if text is None:
            return None
        self._spend()
        return _object(text, self.ctx)

    async def send(self, value: object) -> None:
        """One frame. Does nothing when the client is gone."""
        if self._websocket.application_state is WebSocketState.CONNECTED:
            try:
                await self._websocket.send_text(orjson.dumps(value).decode())
            except WebSocketDisconnect:
                return

    async def close(self, code: int, reason: str) -> None:
        """End it, unless it has ended."""
        if self._websocket.application_state is WebSocketState.CONNECTED:
            await self._websocket.close(code, reason[:100])

    async def recheck(self) -> Context:
        """Who the caller is now. Raises `Unauthenticated` when the credential is good no more."""
        if self._secret is None:
            return await context_of(house_of(self._websocket), self._websocket, self._manner.finders)
        return await _authenticated(self._websocket, self._secret)

    def _spend(self) -> None:
        rate, now = self.ctx.system.limits.websocket_messages_per_s, time.monotonic()
        self._allowance = min(float(rate), self._allowance + (now - self._refilled) * rate)
        self._refilled = now
        if self._allowance < 1:
            raise RateLimited(1)
        self._allowance -= 1


async def admit(websocket: WebSocket, manner: Manner) -> Socket | None:
    """Accept the connection of a caller who may be here; None when it was refused, with an HTTP status in the dialect's
    shape before it is accepted, or a close frame after it.
    """
    try:
        _check_origin(websocket.headers, house_of(websocket).system.policy.allowed_origins)
        if any(name in websocket.query_params for name in CREDENTIAL_PARAMETERS):
            raise InvalidField("query", "a credential must not be in the URL; send it in the first frame")
        try:
            ctx = await context_of(house_of(websocket), websocket, manner.finders)
        except MissingCredential:
            ctx = None
    except ChatkeepError as error:
        await websocket.send_denial_response(manner.write_error(error, "GET"))
        return None
    await websocket.accept()
    if ctx is not None:
        return Socket(websocket, ctx, manner, None)
    return await _by_first_frame(websocket, manner)


async def _by_first_frame(websocket: WebSocket, manner: Manner) -> Socket | None:
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
        return Socket(websocket, await _authenticated(websocket, secret), manner, secret)
    except TimeoutError:
        await websocket.close(POLICY_VIOLATION, "no credential came in time")
    except ChatkeepError as error:
        await websocket.close(POLICY_VIOLATION, str(error)[:100])
    return None


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


def _check_origin(headers: Headers, allowed: frozenset[str]) -> None:
    """Browsers name the page's origin, and no page can forge it; whoever sends none is no browser."""
    origin = headers.get("origin")
    if origin is not None and origin not in allowed:
        raise NotAllowed("WebSockets from this origin are not allowed.")
