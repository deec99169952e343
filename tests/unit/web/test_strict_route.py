"""FastAPI's bodies come through the strict decoder, and its errors come out as the domain's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Annotated, Any

import httpx
import pytest
import pytest_asyncio
from fastapi import APIRouter, Body, FastAPI, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from chatkeep.domain.errors import ChatkeepError
from chatkeep.domain.limits import Limits
from chatkeep.web.bodies import guarded
from chatkeep.web.json import StrictRoute, read_json

LIMITS = replace(Limits(), body_bytes_max=5_000, json_depth_max=3)


class Note(BaseModel):
    text: str
    count: int = 0


def make_app() -> FastAPI:
    router = APIRouter(route_class=StrictRoute)

    @router.post("/notes")
    async def declared(note: Note, request: Request) -> dict[str, Any]:
        return {"text": note.text, "raw": len(await request.body())}

    @router.post("/embedded")
    async def embedded(left: Annotated[str, Body()], right: Annotated[int, Body()]) -> dict[str, Any]:
        return {"left": left, "right": right}

    @router.patch("/by-hand")
    async def by_hand(request: Request) -> Any:
        return await request.json()

    @router.put("/hot")
    async def hot(request: Request) -> Any:
        return await read_json(request, LIMITS)

    @router.post("/optional")
    async def optional(note: Note | None = None) -> bool:
        return note is None

    @router.get("/notes")
    async def listed() -> list[int]:
        return []

    async def domain_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, ChatkeepError)
        return JSONResponse({"code": error.code, "sentence": str(error)}, 418)

    app = FastAPI()
    app.state.house = SimpleNamespace(system=SimpleNamespace(limits=LIMITS))
    app.include_router(router)
    app.include_router(router, prefix="/included")
    app.add_exception_handler(ChatkeepError, domain_error)
    return app


@pytest_asyncio.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = make_app()

    async def with_guard(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, guarded(receive, scope, LIMITS), send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(with_guard), base_url="http://test") as client:
        yield client


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("prefix", ["", "/included"])
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.x+json",
        None,
    ],
)
async def test_json_is_read_under_its_names(
    client: httpx.AsyncClient, prefix: str, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = await client.post(f"{prefix}/notes", content=b'{"text":"hi"}', headers=headers)
    assert response.json() == {"text": "hi", "raw": 13}
    response = await client.patch(f"{prefix}/by-hand", content=b'{"text":"hi"}', headers=headers)
    assert response.json() == {"text": "hi"}


@pytest.mark.parametrize("path", ["/notes", "/included/notes", "/embedded"])
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "text/json", "x+json"]
)
async def test_other_content_types_are_refused(
    client: httpx.AsyncClient, path: str, content_type: str
) -> None:
    response = await client.post(path, content=b'{"text":"hi"}', headers={"content-type": content_type})
    assert (response.status_code, response.json()["code"]) == (418, "unsupported_media_type")


@pytest.mark.parametrize(("method", "path"), [("POST", "/notes"), ("PATCH", "/by-hand"), ("PUT", "/hot")])
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"text":"a","text":"b"}', "malformed_json"),
        (b'{"text":NaN}', "malformed_json"),
        (b"[[[[1]]]]", "malformed_json"),
        (b'{"text":"\\ud800"}', "malformed_json"),
        (b"{", "malformed_json"),
        (b'{"text":"\\u0000"}', "invalid_field"),
        (b'{"text":"%b"}' % (b"a" * 5_000), "body_too_large"),
    ],
)
async def test_domain_errors_come_out_as_themselves(
    client: httpx.AsyncClient, method: str, path: str, content: bytes, code: str
) -> None:
    response = await client.request(method, path, content=content, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (418, code)


async def test_compressed_body_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/notes", content=b"{}", headers={**JSON, "content-encoding": "gzip"})
    assert response.json()["code"] == "unsupported_media_type"


async def test_validation_stays_fastapis(client: httpx.AsyncClient) -> None:
    for content in (b'{"text":1}', b"[]", b""):
        response = await client.post("/notes", content=content, headers=JSON)
        assert response.status_code == 422
        assert response.json()["detail"]


async def test_missing_optional_body_is_no_error(client: httpx.AsyncClient) -> None:
    assert (await client.post("/optional", headers={"content-type": "text/plain"})).json() is True
    assert (await client.post("/optional", content=b'{"text":"a"}', headers=JSON)).json() is False


async def test_missing_body_read_by_hand_is_malformed(client: httpx.AsyncClient) -> None:
    assert (await client.patch("/by-hand")).json()["code"] == "malformed_json"


async def test_several_body_parameters(client: httpx.AsyncClient) -> None:
    response = await client.post("/embedded", json={"left": "a", "right": 2})
    assert response.json() == {"left": "a", "right": 2}


async def test_get_goes_through(client: httpx.AsyncClient) -> None:
    assert (await client.get("/notes")).json() == []


async def test_client_that_leaves_is_no_server_error() -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/notes",
        "headers": [],
        "query_string": b"",
        "root_path": "",
    }
    await make_app()(scope, receive, send)
    assert sent[0]["status"] == 418
