"""Open WebUI's routes, one module a noun; `build` puts them together."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from chatkeep.dialects.openwebui import errors
from chatkeep.dialects.openwebui.manner import FINDERS, MANNER
from chatkeep.dialects.openwebui.routes import auths, chats
from chatkeep.domain.errors import ChatkeepError
from chatkeep.web import dialect
from chatkeep.web.credentials import context_of
from chatkeep.web.dialect import Built
from chatkeep.web.house import House


def build(house: House) -> Built:
    """The Open WebUI application and its hot routes."""
    built = dialect.build(house, MANNER, [auths.router, chats.router], chats.HOT)
    _answer_as_the_vendor(built.app, house)
    return built


def _answer_as_the_vendor(app: FastAPI, house: House) -> None:
    async def validation_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return errors.write_validation(error)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        if path.startswith(chats.PREFIXES):
            # Nothing about chats is for strangers, so they are told so first, also where chatkeep has no route.
            try:
                await context_of(house, request, FINDERS)
            except ChatkeepError as refusal:
                return MANNER.write_error(refusal, request.method)
        return dialect.answer_http_error(MANNER, [*auths.router.routes, *chats.router.routes], request, error)

    app.add_exception_handler(RequestValidationError, validation_error)
    app.add_exception_handler(HTTPException, http_error)
