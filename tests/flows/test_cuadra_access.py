"""Who may see and change a chat over Cuadra's API, how it ends, and what a refusal looks like."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import httpx
import pytest

from tests.flows.cuadra_client import (
    Headers,
    ask,
    check_problem,
    get,
    post,
    roles_and_texts,
    token,
)
from tests.world import World


async def test_etags(world: World) -> None:
    headers = await token(world)
    path = f"/v1/chats/{(await ask(world, headers))['id']}"
    first = await world.client.get(path, headers=headers)
    tag = first.headers["etag"]
    again = await world.client.get(path, headers={**headers, "If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    changed = await world.client.patch(path, headers={**headers, "If-Match": tag}, json={"title": "T"})
    assert changed.headers["etag"] != tag
    late = await world.client.patch(path, headers={**headers, "If-Match": tag}, json={"title": "U"})
    check_problem(late, 412, "Precondition Failed")
    fresh = await world.client.get(path, headers={**headers, "If-None-Match": tag})
    assert fresh.json()["title"] == "T"


async def test_visibility_and_sharing(world: World) -> None:
    member, second, third = [await world.person() for _ in range(3)]
    stranger = await world.organisation()
    path = f"/v1/chats/{(await ask(world, member.bearer))['id']}"

    async def statuses() -> list[int]:
        people = (member, second, third, stranger)
        return [(await world.client.get(path, headers=each.bearer)).status_code for each in people]

    assert await statuses() == [200, 404, 404, 404]
    shared: dict[str, Any] = {"visibility": "shared", "sharedWith": [second.principal_id]}
    changed = await world.client.patch(path, headers=member.bearer, json=shared)
    assert {name: changed.json()[name] for name in shared} == shared
    assert await statuses() == [200, 200, 404, 404]
    await world.client.patch(
        path, headers=member.bearer, json={"visibility": "organization", "sharedWith": None}
    )
    assert await statuses() == [200, 200, 200, 404]
    assert (await get(world, second.bearer, path))["sharedWith"] is None
    assert (await get(world, second.bearer, "/v1/chats"))["totalCount"] == 0
    refused = await world.client.patch(path, headers=second.bearer, json={"title": "Mine"})
    check_problem(refused, 403, "Forbidden", "You may read this chat but not change it.")
    refused = await post(world, second.bearer, chatId=path.rpartition("/")[2])
    check_problem(refused, 403, "Forbidden", "You may read this chat but not change it.")


async def test_only_an_administrator_reads_a_deleted_chat_and_only_when_asked(world: World) -> None:
    member, stranger = await world.person(), await world.organisation()
    chat_id = (await ask(world, member.bearer))["id"]
    path = f"/v1/chats/{chat_id}?includeDeleted=true"
    assert (await get(world, world.owner.bearer, path))["deletedAt"] is None
    await world.client.delete(f"/v1/chats/{chat_id}", headers=member.bearer)
    found = await get(world, world.owner.bearer, path)
    assert (found["deletedBy"], len(found["messages"])) == (member.principal_id, 2)
    detail = "Missing required scope: org:admin"
    check_problem(await world.client.get(path, headers=member.bearer), 403, "Forbidden", detail)
    check_problem(await world.client.get(path, headers=stranger.bearer), 404, "Not Found", "Chat not found.")
    response = await world.client.get(
        f"/v1/chats/{chat_id}?includeDeleted=perhaps", headers=world.owner.bearer
    )
    assert response.status_code == 422


async def test_a_deleted_chat_is_gone_for_everybody(world: World) -> None:
    member = await world.person()
    chat_id = (await ask(world, member.bearer))["id"]
    kept = (await ask(world, member.bearer))["id"]
    path = f"/v1/chats/{chat_id}"
    response = await world.client.delete(path, headers=member.bearer)
    assert (response.status_code, response.content) == (204, b"")
    for caller in (member, world.owner):
        check_problem(
            await world.client.get(path, headers=caller.bearer), 404, "Not Found", "Chat not found."
        )
    check_problem(await world.client.delete(path, headers=member.bearer), 404, "Not Found", "Chat not found.")
    check_problem(await post(world, member.bearer, chatId=chat_id), 404, "Not Found", "Chat not found.")
    page = await get(world, member.bearer, "/v1/chats")
    assert ([item["id"] for item in page["items"]], page["totalCount"]) == ([kept], 1)


async def test_an_ephemeral_chat_ends_by_itself(world: World) -> None:
    headers = await token(world)
    answer = await ask(world, headers, ephemeral=True)
    path = f"/v1/chats/{answer['id']}"
    chat = await get(world, headers, path)
    assert chat["ephemeral"] is True
    assert chat["createdAt"] < chat["ephemeralExpiresAt"]
    assert chat["createdAt"][:11] == "2026-01-01T"
    assert chat["ephemeralExpiresAt"][:11] == "2026-01-02T"
    goes_on = await ask(world, headers, chatId=answer["id"], ephemeral=True)
    assert goes_on["id"] == answer["id"]
    world.clock.advance(world.system.policy.ephemeral_ttl_s)
    fresh = await token(world)  # the old one ended as well
    gone = await world.client.get(path, headers=fresh)
    check_problem(gone, 404, "Not Found", "Chat not found.")
    later = await world.person()
    for caller in (world.owner, later):
        check_problem(
            await world.client.get(path, headers=caller.bearer), 404, "Not Found", "Chat not found."
        )
        check_problem(
            await post(world, caller.bearer, chatId=answer["id"]), 404, "Not Found", "Chat not found."
        )


async def test_a_kept_chat_does_not_become_ephemeral(world: World) -> None:
    member = await world.person()
    chat_id = (await ask(world, member.bearer))["id"]
    refused = await post(world, member.bearer, chatId=chat_id, ephemeral=True)
    check_problem(refused, 422, "Validation error")
    assert refused.json()["detail"].startswith("ephemeral: ")
    assert len(await roles_and_texts(world, chat_id)) == 2


@pytest.mark.parametrize("prefix", ["", "/cuadra"])
async def test_unknown_foreign_and_malformed_ids_are_one_answer(world: World, prefix: str) -> None:
    stranger = await world.organisation()
    foreign = (await ask(world, stranger.bearer))["id"]
    ids = (foreign, "0197f3c0-0000-7000-8000-000000000000", "chat_nope", "%20", "a%00b", "ü", "x" * 300)
    for method in ("GET", "PATCH", "DELETE"):
        bodies: set[bytes] = set()
        for each in ids:
            body: Any = {"json": {"title": "T"}} if method == "PATCH" else {}
            response = await world.client.request(
                method, f"{prefix}/v1/chats/{each}", headers=world.owner.bearer, **body
            )
            check_problem(response, 404, "Not Found", "Chat not found.")
            bodies.add(response.content)
        assert len(bodies) == 1
    for each in (foreign, "chat_nope", "a b", ""):
        check_problem(await post(world, world.owner.bearer, chatId=each), 404, "Not Found", "Chat not found.")


async def test_the_prefix_and_the_root_are_the_same_api(world: World) -> None:
    headers = world.owner.bearer
    response = await world.client.post(
        "/cuadra/v1/chats", headers=headers, json={"messages": [{"role": "user", "content": "Hi"}]}
    )
    path = response.headers["location"]
    assert path == f"/cuadra/v1/chats/{response.json()['id']}"
    assert await get(world, headers, path) == await get(world, headers, path.removeprefix("/cuadra"))
    assert await get(world, headers, "/cuadra/v1/models") == await get(world, headers, "/v1/models")


SCOPED: list[tuple[str, str, str]] = [
    ("POST", "/v1/chats", "chat:invoke"),
    ("GET", "/v1/chats", "chat:read"),
    ("GET", "/v1/chats/{id}", "chat:read"),
    ("GET", "/v1/chats/{id}?expand[]=model", "chat:read"),
    ("PATCH", "/v1/chats/{id}", "chat:write"),
    ("DELETE", "/v1/chats/{id}", "chat:write"),
    ("GET", "/v1/models", "models:read"),
    ("GET", "/v1/models/x", "models:read"),
]


async def test_each_route_needs_its_scope_and_no_other(world: World) -> None:
    everything = ("chat:read", "chat:write", "chat:invoke", "models:read")
    bodies = {"POST": {"messages": [{"role": "user", "content": "Hi"}]}, "PATCH": {"title": "T"}}
    for method, template, scope in SCOPED:
        only = await token(world, scopes=(scope,))
        without = await token(world, scopes=tuple(each for each in everything if each != scope))
        chat_id = (await world.native("POST", "/chats", visibility="organization"))["id"]
        path = template.format(id=chat_id)

        async def send(headers: Headers, method: str = method, path: str = path) -> httpx.Response:
            return await world.client.request(method, path, headers=headers, json=bodies.get(method))

        check_problem(await send(without), 403, "Forbidden", f"Missing required scope: {scope}")
        allowed = await send(only)
        assert "Missing required scope" not in allowed.text, (method, path, allowed.text)
        if scope == "chat:invoke":
            assert allowed.status_code == 200


async def test_whatever_is_wrong_is_a_problem(world: World) -> None:
    headers = world.owner.bearer
    client = world.client
    revoked = await world.person()
    await world.revoke(revoked)
    expiring = await world.person(expires_in_s=1)
    world.clock.advance(2)
    wrong: list[Headers] = [
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic abc"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer a.b.c"},
        revoked.bearer,
        expiring.bearer,
    ]
    bodies: set[bytes] = set()
    for each in wrong:
        for method, path in (("GET", "/v1/chats"), ("GET", "/v1/chats/x"), ("POST", "/v1/chats")):
            response = await client.request(method, path, headers=each)
            check_problem(response, 401, "Unauthorized", "Invalid or expired token.")
            assert response.headers["www-authenticate"].startswith("Bearer")
            bodies.add(response.content)
    assert len(bodies) == 1
    check_problem(await client.get("/v1/nothing", headers=headers), 404, "Not Found")
    check_problem(await client.put("/v1/chats", headers=headers), 405, "Method Not Allowed")
    for raw, status, title in ((b"{", 400, "Bad Request"), (b"", 422, "Validation error")):
        check_problem(await client.post("/v1/chats", headers=headers, content=raw), status, title)
    typed = {**headers, "content-type": "text/plain"}
    check_problem(await client.post("/v1/chats", headers=typed, content=b"{}"), 415, "Unsupported Media Type")
    huge = await client.post("/v1/chats", headers=headers, content=b"x" * (1024 * 1024 + 1))
    check_problem(huge, 413, HTTPStatus.REQUEST_ENTITY_TOO_LARGE.phrase)


async def test_its_own_document_describes_its_routes(world: World) -> None:
    document = (await world.client.get("/cuadra/openapi.json")).json()
    assert set(document["paths"]) == {
        *("/v1/chats", "/v1/chats/{chat_id}", "/v1/models", "/v1/models/{model_id}"),
        *("/v1/oauth2/token", "/.well-known/jwks.json"),
    }
    assert (await world.client.get("/cuadra/docs")).status_code == 200
