"""What Synthflow's API refuses, to whom, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows.synthflow_client import (
    CHAT,
    OTHER,
    SESSION,
    add_agent,
    agent_of,
    ask,
    opened,
    said,
    session_of,
)
from tests.upstream import Script
from tests.world import World


async def test_a_taken_id_is_refused_whoever_has_it(world: World) -> None:
    await opened(world)
    other_agent = await add_agent(world, "another")
    refused = await ask(world, "POST", CHAT, json={"model_id": other_agent})
    assert refused.status_code == 400
    agent = await agent_of(world)
    stranger = await ask(world, "POST", CHAT, await world.person(), json={"model_id": agent})
    await world.native("POST", "/chats", id=OTHER)
    native = await ask(world, "POST", f"/v2/chat/{OTHER}", json={"model_id": agent})
    await world.native("DELETE", f"/chats/{OTHER}")
    deleted = await ask(world, "POST", f"/v2/chat/{OTHER}", json={"model_id": agent})
    answers = {(each.status_code, each.content) for each in (refused, stranger, native, deleted)}
    assert answers == {(400, b'{"detail":"A chat with this id exists already."}')}


ROUTES = [
    ("POST", "/v2/chat/{id}", {"model_id": "x"}),
    ("GET", "/v2/chat/{id}", None),
    ("DELETE", "/v2/chat/{id}", None),
    ("POST", "/v2/chat/{id}/messages", {"message": "x"}),
    ("GET", "/v2/assistants/", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_every_route_wants_a_good_key(world: World, method: str, path: str, body: Any) -> None:
    path = path.format(id=SESSION)
    revoked, expired = await world.person(), await world.person(expires_in_s=10)
    await world.revoke(revoked)
    world.clock.advance(11)
    wrong: list[dict[str, str]] = [{"Authorization": "Bearer no"}, {"Authorization": "Basic eDp5"}]
    for headers in ({}, *wrong, revoked.bearer, expired.bearer, world.owner.x_api_key):
        refused = await world.client.request(method, path, headers=headers, json=body)
        assert refused.status_code == 401
        assert list(refused.json()) == ["detail"]
        assert refused.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_may_lack_the_right(world: World) -> None:
    agent = await agent_of(world)
    await opened(world)
    reader = await world.person("member", ("chat:read",))
    tries = [
        await ask(world, "POST", f"/v2/chat/{OTHER}", reader, json={"model_id": agent}),
        await ask(world, "POST", f"{CHAT}/messages", reader, json={"message": "x"}),
        await ask(world, "DELETE", CHAT, reader),
        await ask(world, "GET", "/v2/assistants/", reader),
        await ask(world, "GET", CHAT, await world.person("member", ("models:read",))),
    ]
    assert [each.status_code for each in tries] == [403] * 5
    assert all(list(each.json()) == ["detail"] for each in tries)


async def test_who_may_read_a_chat_but_not_change_it(world: World) -> None:
    await opened(world)
    await world.native("PATCH", f"/chats/{SESSION}", visibility="organization")
    colleague = await world.person()
    assert (await ask(world, "GET", CHAT, colleague)).status_code == 200
    send = await ask(world, "POST", f"{CHAT}/messages", colleague, json={"message": "x"})
    assert [send.status_code, (await ask(world, "DELETE", CHAT, colleague)).status_code] == [403, 403]
    assert len((await session_of(world))["conversation_history"]) == 1


async def test_foreign_and_unknown_chats_are_the_same(world: World) -> None:
    await opened(world)
    stranger, elsewhere = await world.person(), await world.organisation()
    for method, path, body in ROUTES[1:4]:
        answers = set()
        for caller, session in ((stranger, SESSION), (elsewhere, SESSION), (world.owner, OTHER)):
            response = await ask(world, method, path.format(id=session), caller, json=body)
            answers.add((response.status_code, response.content))
        assert answers == {(404, b'{"detail":"Chat not found."}')}
    assert len((await session_of(world))["conversation_history"]) == 1


@pytest.mark.parametrize("path_id", ["x", "%20", "outbound", SESSION[:-1], SESSION.replace("-", ""), "%00"])
async def test_a_path_that_is_no_uuid_is_a_bad_request(world: World, path_id: str) -> None:
    for method, path, body in ROUTES[:4]:
        response = await ask(world, method, path.format(id=path_id), json=body)
        assert (response.status_code, response.content) == (400, b'{"detail":"chat_id: must be a UUID"}')


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "model_id"),
        (b"", "body"),
        (b"[]", "body"),
        (b'{"model_id": 7}', "model_id"),
        (b'{"model_id": "nobody"}', "model_id"),
        (b'{"model_id": "two words \\u00e9"}', "model_id"),
        (b'{"model_id": "x", "metadata": []}', "metadata"),
        (b'{"model_id": "x", "model_id": "y"}', "model_id"),
        (b'{"model_id"', "JSON"),
    ],
)
async def test_a_create_that_says_nonsense(world: World, body: bytes, field: str) -> None:
    headers = {"content-type": "application/json"}
    response = await ask(world, "POST", CHAT, content=body, headers=headers)
    assert response.status_code == 400
    assert field in response.json()["detail"]
    assert (await ask(world, "GET", CHAT)).status_code == 404


@pytest.mark.parametrize("body", [{}, {"message": ""}, {"message": None}, {"message": ["x"]}, {"text": "x"}])
async def test_a_send_that_says_nothing(world: World, body: Any) -> None:
    await opened(world)
    response = await ask(world, "POST", f"{CHAT}/messages", json=body)
    assert response.status_code == 400
    assert response.json()["detail"].startswith("message: ")
    assert len((await session_of(world))["conversation_history"]) == 1


async def test_limits_of_texts(world: World) -> None:
    await opened(world)
    world.upstream.play(Script(["ok"]))
    assert (await said(world, "x" * 100_000))["agent_message"] == "ok"
    long = await ask(world, "POST", f"{CHAT}/messages", json={"message": "é" * 50_001})
    assert (long.status_code, long.json()["detail"][:9]) == (400, "message: ")
    body = {"model_id": await agent_of(world), "metadata": {"x": "y" * 66_000}}
    heavy = await ask(world, "POST", f"/v2/chat/{OTHER}", json=body)
    assert (heavy.status_code, heavy.json()["detail"][:10]) == (400, "metadata: ")
    huge = await ask(world, "POST", f"{CHAT}/messages", json={"message": "x" * 1_100_000})
    assert (huge.status_code, list(huge.json())) == (413, ["detail"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nowhere", 404),
        ("PUT", CHAT, 405),
        ("GET", f"{CHAT}/messages", 405),
        ("GET", "/v2/chat", 404),
    ],
)
async def test_no_such_route(world: World, method: str, path: str, status: int) -> None:
    response = await ask(world, method, path)
    assert (response.status_code, list(response.json())) == (status, ["detail"])
