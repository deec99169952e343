"""The frame of a dialect: its own FastAPI application, its error shape, its credentials, its hot routes.

A dialect is one folder whose `routes.py` has `build(house) -> Built`. Everything a client can do wrong comes out in the
dialect's own shape: domain errors, failed validation, unknown routes and methods.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.models import SecurityBase
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase as SecurityScheme
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, compile_path

from chatkeep import __version__
from chatkeep.domain.chat import Dialect
from chatkeep.domain.errors import ChatkeepError, RateLimited
from chatkeep.domain.limits import Limits
from chatkeep.domain.text import US
from chatkeep.services.context import Context, Replay
from chatkeep.web import docs
from chatkeep.web.credentials import Finder, context_of
from chatkeep.web.faults import first_fault
from chatkeep.web.house import House
from chatkeep.web.json import StrictRoute
from chatkeep.web.openapi import DocumentedApp, answer_of

ErrorWriter = Callable[[ChatkeepError, str], Response]
PlainErrorWriter = Callable[[int, str, str], Response]
FIRST_ERROR = 400
INTERNAL_ERROR = 500
HotAnswer = Callable[[House, Context, Request], Awaitable[Response]]


def _unlimited(_: Limits) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Manner:
    """How one dialect behaves in everything that is not a route.

    `write_error(error, method)` writes a domain error, `write_plain(status, reason, method)` one of HTTP itself
    (unknown route, wrong method); `error_model` is the shape of both. `finders` are tried in order for the credential.
    `requests_per_minute` is how many of a tenant are answered, 0 for all.
    """

    name: Dialect
    title: str
    description: str
    finders: tuple[Finder, ...]
    write_error: ErrorWriter
    write_plain: PlainErrorWriter
    error_model: type
    error_media_type: str = "application/json"
    requests_per_minute: Callable[[Limits], int] = _unlimited


def house_of(connection: HTTPConnection) -> House:
    """The house a dialect's application was built for."""
    house: House = connection.app.state.house
    return house


TheHouse = Annotated[House, Depends(house_of)]


class CallerOf(SecurityScheme):
    """The dependency that turns a dialect's credential into a `Context`, and says so in the OpenAPI document."""

    def __init__(self, manner: Manner, model: SecurityBase, scheme_name: str) -> None:
        self.model = model
        self.scheme_name = scheme_name
        self._manner = manner

    async def __call__(self, connection: HTTPConnection) -> Context:
        """Who calls. Raises `Unauthenticated`, `RateLimited`."""
        return await _caller(house_of(connection), connection, self._manner)


@dataclass(frozen=True, slots=True)
class Hot:
    """A route that is asked so often that it is answered before FastAPI: same function, same answer, fewer layers."""

    method: str
    path: str
    answer: HotAnswer


class HotTable:
    """The hot routes of one dialect, matched by method and path."""

    def __init__(self, house: House, manner: Manner, routes: Sequence[Hot]) -> None:
        self._house = house
        self._manner = manner
        self._routes = [(hot.method, compile_path(hot.path)[0], hot.answer) for hot in routes]

    def match(self, method: str, path: str) -> tuple[HotAnswer, dict[str, str]] | None:
        """The route and its path parameters."""
        for wanted, regex, answer in self._routes:
            if wanted == method and (found := regex.match(path)) is not None:
                return answer, found.groupdict()
        return None

    async def run(self, answer: HotAnswer, request: Request) -> Response:
        """The answer, or the error in the dialect's shape."""
        try:
            ctx = await _caller(self._house, request, self._manner)
            return await answer(self._house, ctx, request)
        except ChatkeepError as error:
            return self._manner.write_error(error, request.method)
        except Replay as replay:
            return write_replay(replay, self._manner)


@dataclass(frozen=True, slots=True)
class Built:
    """A dialect ready to be put behind its doors."""

    manner: Manner
    app: FastAPI
    hot: HotTable


def build(house: House, manner: Manner, routers: Sequence[APIRouter], hot: Sequence[Hot]) -> Built:
    """A dialect from its routers and hot routes."""
    app = _make_app(house, manner)
    for router in routers:
        app.include_router(router)
        app.describe(router.routes)
    _answer_errors(app, manner, [each for router in routers for each in router.routes])
    return Built(manner, app, HotTable(house, manner, hot))


def rechecking(manner: Manner, connection: HTTPConnection) -> Callable[[], Awaitable[Context]]:
    """For a stream: looks again who its reader is. Raises `Unauthenticated` when the credential is good no more."""

    async def recheck() -> Context:
        return await context_of(house_of(connection), connection, manner.finders)

    return recheck


async def _caller(house: House, connection: HTTPConnection, manner: Manner) -> Context:
    ctx = await context_of(house, connection, manner.finders)
    limit = manner.requests_per_minute(house.system.limits)
    if limit:
        rate = await house.rates.spend(ctx.principal.organisation_id, limit)
        left_s = max(-(-(rate.resets_at - ctx.now_us()) // US), 1)
        told = {"limit": rate.limit, "remaining": rate.remaining, "reset": rate.resets_at // US}
        connection.scope["state"]["headers"] = [
            (f"x-ratelimit-{name}".encode(), str(value).encode()) for name, value in told.items()
        ]
        if rate.is_exceeded:
            raise RateLimited(left_s)
    return ctx


def make_router() -> APIRouter:
    """A router whose bodies are decoded strictly."""
    return APIRouter(route_class=StrictRoute)


def _make_app(house: House, manner: Manner) -> DocumentedApp:
    app = DocumentedApp(
        errors=answer_of(manner.error_model, "Error", manner.error_media_type),
        title=manner.title,
        description=manner.description,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.house = house

    @app.get("/docs", include_in_schema=False)
    async def docs_page(request: Request) -> HTMLResponse:
        return HTMLResponse(docs.page(app.openapi(), request.scope.get("root_path", "")))

    return app


def _answer_errors(app: FastAPI, manner: Manner, routes: Sequence[BaseRoute]) -> None:
    async def domain_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ChatkeepError)
        return manner.write_error(error, request.method)

    async def validation_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return manner.write_error(first_fault(error), request.method)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer_http_error(manner, routes, request, error)

    async def replay(_: Request, error: Exception) -> Response:
        assert isinstance(error, Replay)
        return write_replay(error, manner)

    async def bug(request: Request, _: Exception) -> Response:
        # FastAPI raises the error again after this, and the edge logs it.
        return manner.write_plain(INTERNAL_ERROR, "Internal Server Error", request.method)

    app.add_exception_handler(Exception, bug)
    app.add_exception_handler(ChatkeepError, domain_error)
    app.add_exception_handler(RequestValidationError, validation_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Replay, replay)


def answer_http_error(
    manner: Manner, routes: Sequence[BaseRoute], request: Request, error: HTTPException
) -> Response:
    """An error of HTTP itself in the dialect's shape; a 405 names the methods of all routes with this path."""
    response = manner.write_plain(error.status_code, str(error.detail), request.method)
    response.headers.update(error.headers or {})
    if "allow" in response.headers:  # Starlette names those of the first such route only
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        ours = [each for each in routes if isinstance(each, APIRoute)]
        first = next((each.path for each in ours if each.path_regex.match(path)), None)
        methods = {method for each in ours if each.path == first for method in each.methods or ()}
        if "GET" in methods:
            methods.add("HEAD")  # the edge answers it
        response.headers["allow"] = ", ".join(sorted(methods)) or response.headers["allow"]
    return response


def write_replay(replay: Replay, manner: Manner) -> Response:
    """The remembered answer, marked as such."""
    kind = manner.error_media_type if replay.status >= FIRST_ERROR else "application/json"
    if replay.body.startswith((b"data:", b"event:", b"id:")):
        kind = "text/event-stream"
    headers = {**replay.headers, "idempotency-replayed": "true"}
    return Response(replay.body, status_code=replay.status, media_type=kind, headers=headers)
