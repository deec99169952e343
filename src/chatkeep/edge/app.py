"""The outermost application: request ids, access log, metrics, last resort, health; then the doors.

Written as plain ASGI because everything passes through it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from hmac import compare_digest

import orjson
import structlog
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatkeep import __version__
from chatkeep.domain.chat import Dialect
from chatkeep.domain.errors import StoreRefused
from chatkeep.edge.doors import PREFIXES, choose
from chatkeep.edge.drain import Drain
from chatkeep.edge.metrics import CONTENT_TYPE, Metrics
from chatkeep.edge.ready import REQUEST_ID, Asked, Found, Header, Ready, ReadyAnswers
from chatkeep.edge.report import WEBSOCKET, Reporter, answered
from chatkeep.web.bodies import guarded
from chatkeep.web.dialect import Built
from chatkeep.web.house import House
from chatkeep.web.rendered import Kept

log = structlog.get_logger(__name__)
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
)

SHOWN_TO_PAGES = (
    *("etag", "location", "retry-after", "x-request-id", "idempotency-replayed"),
    *("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
)
"""Headers of answers that web pages of allowed origins may read, beside those that all may."""

LAST_LINES = b"".join([b"\r\n%b: %b" % header for header in SECURITY_HEADERS]) + b"\r\n\r\n"


class Edge:
    """The ASGI application of the server."""

    def __init__(
        self,
        house: House,
        dialects: Mapping[Dialect, Built],
        *,
        drain: Drain,
        lifespan: Callable[[], AbstractAsyncContextManager[None]],
        requests_log: Callable[[bytes], object] | None = None,
        metrics_token: str | None = None,
    ) -> None:
        self._house = house
        self._dialects = dialects
        self._drain = drain
        self._lifespan = lifespan
        self.metrics = Metrics(lambda: house.runner.running_count)
        self._metrics_token = metrics_token
        self.reporter = Reporter(self.metrics, house.system.clock, requests_log)
        self._kept = ReadyAnswers(house.system.clock)
        self.tell_moment = house.system.store.tell_moment
        self._app: ASGIApp = self._at_door
        if origins := house.system.policy.allowed_origins:
            self._app = CORSMiddleware(
                self._at_door,
                allow_origins=sorted(origins),
                allow_methods=("*",),
                allow_headers=("*",),
                expose_headers=SHOWN_TO_PAGES,
            )
        self._own: dict[str, Callable[[Scope], Response]] = {
            "/": self._index,
            "/health": self._health,
            "/ready": self._ready,
            "/metrics": self._metrics,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the lifespan."""
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        elif scope["type"] == "http":
            await _Exchange(self, scope, send).run(receive)
        else:
            await _Talk(self, scope, send).run(receive)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let whoever lives at the URL answer, and note the door's name for log and metrics before that."""
        path: str = scope["path"]
        own = self._own.get(path)
        if own is not None:
            is_read = scope["method"] == "GET"
            response = own(scope) if is_read else _plain(405, "Method Not Allowed", {"allow": "GET, HEAD"})
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _at_door(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = choose(scope["path"], scope["headers"])
        if door is None:
            await _plain(404, "Nothing lives here. See / for what does.")(scope, receive, send)
            return
        name, prefix = door
        scope["state"]["door"] = name
        await self._dialect(name, prefix, scope, guarded(receive, scope, self._house.system.limits), send)

    async def _dialect(self, name: Dialect, prefix: str, scope: Scope, receive: Receive, send: Send) -> None:
        built = self._dialects[name]
        scope["root_path"] = prefix
        found = built.hot.match(scope["method"], scope["path"][len(prefix) :])
        if found is None:
            await built.app(scope, receive, send)
            return
        answer, path_params = found
        scope["path_params"] = path_params
        response = await built.hot.run(answer, Request(scope, receive, send))
        asked = scope["state"].get("asked")
        if asked is not None and isinstance(response, Kept) and "headers" not in scope["state"]:
            self._kept.keep(asked, scope["state"]["moment"], _as_ready(name, scope["path"], response))
        await response(scope, receive, send)

    async def talk(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket, for the dialect that lives at its URL."""
        door = choose(scope["path"], scope["headers"])
        if door is None:
            await send({"type": "websocket.close", "code": 1008, "reason": "no such door"})
            return
        name, prefix = door
        scope["state"]["door"] = name
        scope["root_path"] = prefix
        await self._dialects[name].app(scope, receive, send)

    def answer_at_once(
        self, asked: Asked, headers: list[Header], moment: Hashable | None, started_s: float
    ) -> Found | None:
        """The answer that `__call__` would give this GET, if it is ready.

        `moment` is the store's from after the request came: at `started_s`, by `time.perf_counter`. A request that
        is not answered here carries `asked` and `moment` in its scope's state, so that its answer may be kept.
        """
        ready = self._kept.find(asked, moment)
        if ready is None:
            return None
        body = b"" if ready.body is None else self._house.rendered.get(ready.body)
        if body is None:
            return None
        request_id = self.new_request_id(headers)
        self.reporter.report(ready.answered, request_id, time.perf_counter() - started_s)
        return ready.answered.status, b"%b%b%b" % (ready.head, request_id.encode(), LAST_LINES), body

    def new_request_id(self, headers: Iterable[Header]) -> str:
        """The client's own `X-Request-Id` if it is a plain one, else a new one."""
        for name, value in headers:
            if name == REQUEST_ID and 0 < len(value) <= 64 and value.replace(b"-", b"").isalnum():
                return value.decode("ascii")
        return self._house.system.entropy.uuid7()

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self._lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except StoreRefused as refusal:
            await send({"type": "lifespan.startup.failed", "message": f"cannot start: {refusal}"})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    def _index(self, _: Scope) -> Response:
        doors = {name: {"prefix": prefix, "docs": f"{prefix}/docs"} for prefix, name in PREFIXES}
        return _json(200, {"name": "chatkeep", "doors": doors, "health": "/health"})

    def _health(self, _: Scope) -> Response:
        return _json(200, {"status": True})

    def _ready(self, _: Scope) -> Response:
        is_store_well = self._house.system.store.is_healthy()
        is_ready = is_store_well and not self._drain.is_draining
        state = {
            "ready": is_ready,
            "store": is_store_well,
            "draining": self._drain.is_draining,
            "node": self._house.system.node_name,
            "version": __version__,
        }
        return _json(200 if is_ready else 503, state)

    def _metrics(self, scope: Scope) -> Response:
        if self._metrics_token is not None and not _bears(scope, self._metrics_token):
            return _plain(401, "This needs the metrics token.", {"www-authenticate": "Bearer"})
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE})


class _Told:
    """A request or a WebSocket, told once it is over."""

    __slots__ = ("_edge", "_request_id", "_scope", "_send", "_started", "_status")

    def __init__(self, edge: Edge, scope: Scope, send: Send) -> None:
        self._edge = edge
        self._scope = scope
        self._send = send
        self._status = 0
        self._started = time.perf_counter()
        self._request_id = edge.new_request_id(scope["headers"])
        scope.setdefault("state", {}).update(request_id=self._request_id, door="edge")

    def tell(self, method: str) -> None:
        """Count it, and write its line in the log."""
        scope = self._scope
        what = answered(scope["state"]["door"], method, scope["path"], self._status or 499)
        self._edge.reporter.report(what, self._request_id, time.perf_counter() - self._started)


class _Exchange(_Told):
    """One request and its answer: adds the outer headers, notes the status, catches what nobody else did."""

    __slots__ = ()

    async def run(self, receive: Receive) -> None:
        scope, send = self._scope, self.send
        if scope["method"] == "HEAD":  # whoever answers is asked for all of it: the headers are those of GET
            scope, send = {**scope, "method": "GET"}, self.send_without_body
        try:
            await self._edge.answer(scope, receive, send)
        except _HeadSent:
            pass
        except (
            Exception
        ):  # the last resort: whatever it was, the client gets a sentence and the log the traceback
            log.exception("unhandled", request_id=self._request_id, path=self._scope["path"])
            if self._status == 0:
                await _plain(500, "Internal Server Error")(scope, receive, send)
        finally:
            self.tell(self._scope["method"])

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = message.setdefault("headers", [])
            headers.append((REQUEST_ID, self._request_id.encode()))
            headers.extend(self._scope["state"].get("headers", ()))
            headers.extend(SECURITY_HEADERS)
        await self._send(message)

    async def send_without_body(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            await self.send(message)
            return
        await self.send({"type": "http.response.body", "body": b""})
        if message.get("more_body"):
            raise _HeadSent


class _Talk(_Told):
    """One WebSocket; its status is that of its handshake."""

    __slots__ = ()

    async def run(self, receive: Receive) -> None:
        try:
            await self._edge.talk(self._scope, receive, self.send)
        except Exception:  # as for requests; uvicorn ends the connection
            log.exception("unhandled", request_id=self._request_id, path=self._scope["path"])
            raise
        finally:
            self.tell(WEBSOCKET)

    async def send(self, message: Message) -> None:
        if message["type"] in ("websocket.accept", "websocket.http.response.start"):
            self._status = message.get("status", 101)
            message["headers"] = [*message.get("headers", ()), (REQUEST_ID, self._request_id.encode())]
        elif message["type"] == "websocket.close" and not self._status:
            self._status = 403  # closed before it was accepted
        await self._send(message)


class _HeadSent(Exception):
    """All that a HEAD request wants of a stream is out."""


def _bears(scope: Scope, token: str) -> bool:
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    scheme, _, secret = given.partition(b" ")
    return scheme.lower() == b"bearer" and compare_digest(secret.strip(), token.encode())


def _as_ready(door: Dialect, path: str, response: Kept) -> Ready:
    head = b"".join([b"%b: %b\r\n" % header for header in response.raw_headers]) + REQUEST_ID + b": "
    what = answered(door, "GET", path, response.status_code)
    return Ready(what, head, response.body_key, response.known_until_us)


def _json(status: int, content: object) -> Response:
    return Response(orjson.dumps(content), status_code=status, media_type="application/json")


def _plain(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    content = {"type": "about:blank", "status": status, "detail": detail}
    return Response(
        orjson.dumps(content), status_code=status, media_type="application/problem+json", headers=headers
    )
