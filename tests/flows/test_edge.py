"""The shell around all dialects: request ids, headers, health, metrics, the log, and what lives nowhere."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
import structlog

from chatkeep import __version__
from chatkeep.services import folders
from tests.flows.office import Office, idle
from tests.upstream import Script
from tests.world import NATIVE, World

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECRET = "kanarienvogel"
SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}
EVERYWHERE = [
    ("GET", "/", 200),
    ("GET", "/health", 200),
    ("GET", "/ready", 200),
    ("GET", "/metrics", 200),
    ("POST", "/health", 405),
    ("GET", "/nowhere", 404),
    ("GET", NATIVE + "/docs", 200),
    ("GET", NATIVE + "/openapi.json", 200),
    ("GET", NATIVE + "/me", 401),
    ("GET", NATIVE + "/nowhere", 404),
    ("PUT", NATIVE + "/chats", 405),
    ("POST", NATIVE + "/chats", 401),
    ("GET", "/api/v1/chats/x", 401),
    ("GET", "/v2/chat/x", 401),
]


@pytest.fixture
def lines(office: Office) -> Iterator[list[Any]]:
    """The request log, line by line."""
    found: list[bytes] = []
    office.server.edge.reporter.lines = found.append
    yield _Decoded(found)
    office.server.edge.reporter.lines = None


class _Decoded(list[Any]):
    def __init__(self, raw: list[bytes]) -> None:
        self.raw = raw

    def __iter__(self) -> Iterator[Any]:
        return (orjson.loads(line) for line in self.raw)


@pytest.mark.parametrize(("method", "path", "status"), EVERYWHERE)
async def test_every_answer_has_a_request_id_and_the_security_headers(
    office: Office, method: str, path: str, status: int
) -> None:
    response = await office.client.request(method, path)
    assert response.status_code == status
    assert str(uuid.UUID(response.headers["x-request-id"])) == response.headers["x-request-id"]
    assert {name: response.headers[name] for name in SECURITY} == SECURITY
    assert len(response.headers.get_list("x-request-id")) == 1
    assert "server" not in response.headers


async def test_a_stream_has_them_too(office: Office) -> None:
    chat = await office.chat()
    response = await office.ask(
        "POST", f"/chats/{chat['id']}/generate", body={"message": "x", "stream": True}
    )
    assert {name: response.headers[name] for name in SECURITY} == SECURITY
    assert "x-request-id" in response.headers


async def test_a_plain_request_id_is_taken_over_and_no_other(office: Office) -> None:
    for mine in ("abc", "A-1", "0" * 64, str(uuid.uuid4())):
        response = await office.client.get("/health", headers={"x-request-id": mine})
        assert response.headers["x-request-id"] == mine
    for odd in (b"", b"-", b"a b", b"x" * 65, b'a"b', b"a\tb", "über".encode(), b"a;b", b"../x", b"${x}"):
        response = await office.client.get("/health", headers={b"x-request-id": odd})
        assert str(uuid.UUID(response.headers["x-request-id"])) == response.headers["x-request-id"]
    first, second = [(await office.client.get("/health")).headers["x-request-id"] for _ in range(2)]
    assert first != second


async def test_the_front_page_names_every_door(office: Office) -> None:
    index = (await office.client.get("/")).json()
    assert index["name"] == "chatkeep"
    assert set(index["doors"]) == set(office.server.edge._dialects)
    for door in index["doors"].values():
        page = await office.client.get(door["docs"])
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")


async def test_health_and_readiness(office: Office) -> None:
    health = await office.client.get("/health")
    assert (health.status_code, health.json()) == (200, {"status": True})
    ready = await office.client.get("/ready")
    node = {"node": office.system.node_name, "version": __version__}
    assert (ready.status_code, ready.json()) == (
        200,
        {"ready": True, "store": True, "draining": False, **node},
    )
    head = await office.client.head("/health")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == health.headers["content-length"]


@pytest.mark.parametrize(
    "path", ["/nowhere", "/v1", "/v3/x", "/chatkeep", "/chatkeep/v1x", "/apis/x", "/%00", "//"]
)
async def test_where_no_door_is_there_is_a_plain_404(office: Office, path: str) -> None:
    response = await office.client.get(f"http://chatkeep.test{path}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 404
    assert path not in response.text or path == "//"


async def test_the_servers_own_pages_are_only_read(office: Office) -> None:
    for path in ("/", "/health", "/ready", "/metrics"):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            response = await office.client.request(method, path)
            assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
            assert response.json()["status"] == 405


async def test_one_line_a_request_with_all_that_helps_and_nothing_that_hurts(
    office: Office, lines: Any
) -> None:
    await office.ask(
        "POST",
        f"/chats?x={SECRET}",
        body={"title": SECRET, "messages": [{"role": "user", "content": SECRET}]},
        headers={"x-request-id": "mine"},
    )
    await office.client.get(
        "/nowhere", headers={"authorization": f"Bearer {SECRET}", "cookie": f"token={SECRET}"}
    )
    created, missed = lines
    assert created == {
        "timestamp": created["timestamp"],
        "level": "info",
        "event": "request",
        "request_id": "mine",
        "method": "POST",
        "path": NATIVE + "/chats",
        "status": 201,
        "ms": created["ms"],
        "door": "native",
    }
    assert created["timestamp"].endswith("Z")
    assert created["ms"] >= 0
    assert (missed["path"], missed["status"], missed["door"]) == ("/nowhere", 404, "edge")
    assert SECRET.encode() not in b"".join(lines.raw)
    assert office.owner.key.encode() not in b"".join(lines.raw)


async def test_a_line_is_one_line_whatever_the_path_holds(office: Office, lines: Any) -> None:
    await office.client.get(f"{NATIVE}/chats/a%0Ab%22%00%F0%9F%99%82%ED%A0%80", headers=office.owner.bearer)
    (raw,) = lines.raw
    assert b"\n" not in raw
    assert orjson.loads(raw)["status"] == 404


async def test_what_goes_wrong_is_logged_without_texts_and_secrets(office: Office) -> None:
    chat = await office.chat(SECRET)
    office.upstream.play(Script([SECRET], failure="cut"))
    with structlog.testing.capture_logs() as logged:
        await office.ask("POST", f"/chats/{chat['id']}/generate", body={"message": SECRET})
        await idle(office)
    assert SECRET not in str(logged)
    assert office.owner.key not in str(logged)


async def test_a_bug_is_a_500_with_a_sentence_and_a_traceback_in_the_log(office: Office, lines: Any) -> None:
    built = office.server.edge._dialects["native"]

    async def broken(*_: object) -> None:
        raise ZeroDivisionError(SECRET)

    dialects: Any = office.server.edge._dialects
    dialects["native"] = replace(built, app=broken)  # type: ignore[arg-type]
    try:
        with structlog.testing.capture_logs() as logged:
            response = await office.ask("GET", "/me", headers={"x-request-id": "mine"})
    finally:
        dialects["native"] = built
    assert (response.status_code, response.json()["detail"]) == (500, "Internal Server Error")
    assert SECRET not in response.text
    assert response.headers["x-request-id"] == "mine"
    assert {name: response.headers[name] for name in SECURITY} == SECURITY
    (entry,) = logged
    assert (entry["event"], entry["request_id"], entry["exc_info"]) == ("unhandled", "mine", True)
    assert [(line["status"], line["door"]) for line in lines] == [(500, "native")]


async def test_a_bug_in_a_route_is_told_in_the_shape_of_its_dialect(
    office: Office, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: object) -> None:
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr(folders, "list_folders", broken)
    with structlog.testing.capture_logs() as logged:
        problem = await office.refusal(500, "GET", "/folders")
    assert (problem["code"], problem["detail"]) == ("internal_server_error", "Internal Server Error")
    assert [entry["event"] for entry in logged] == ["unhandled"]
    assert [(line["status"], line["door"]) for line in lines] == [(500, "native")]


@pytest.mark.asyncio(loop_scope="function")
async def test_a_draining_server_is_not_ready_and_takes_no_new_question(world: World) -> None:
    chat = await world.native("POST", "/chats", title="T")
    world.server.drain.begin()
    await asyncio.sleep(0)
    ready = await world.client.get("/ready")
    node = {"node": world.system.node_name, "version": __version__}
    assert (ready.status_code, ready.json()) == (
        503,
        {"ready": False, "store": True, "draining": True, **node},
    )
    assert (await world.client.get("/health")).status_code == 200
    path, headers = f"{NATIVE}/chats/{chat['id']}", world.owner.bearer
    refused = await world.client.post(path + "/generate", headers=headers, json={"message": "x"})
    assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
    assert int(refused.headers["retry-after"]) >= 1
    assert (await world.native("GET", f"/chats/{chat['id']}"))["messages"] == []
    await world.native("PATCH", f"/chats/{chat['id']}", title="still written")


@pytest.mark.sqlite
@pytest.mark.asyncio(loop_scope="function")
async def test_a_server_without_its_writer_is_not_ready(world: World) -> None:
    store: Any = world.system.store
    await asyncio.to_thread(store._writer.close)
    ready = await world.client.get("/ready")
    assert (ready.status_code, ready.json()["ready"], ready.json()["store"]) == (503, False, False)
    refused = await world.client.post(f"{NATIVE}/chats", headers=world.owner.bearer, json={})
    assert refused.status_code == 503
