"""Chats over Cuadra's API: scenario A of contracts/scenarios.md and section A6 of contracts/cuadra.md."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from tests.flows.cuadra_client import (
    Headers,
    ask,
    check_problem,
    get,
    model_of,
    post,
    roles_and_texts,
    token,
)
from tests.upstream import Script
from tests.world import World

EXPANDED = "expand[]=model"
FIELDS = [
    "createdAt",
    "updatedAt",
    "organizationId",
    "id",
    "modelId",
    "createdBy",
    "title",
    "systemPrompt",
    "metadata",
    "status",
    "lastError",
    "lastErrorAt",
    "model",
    "messages",
    "documentsCount",
    "visibility",
    "sharedWith",
    "deletedAt",
    "deletedBy",
    "source",
    "sourceDetail",
    "ephemeral",
    "ephemeralExpiresAt",
]
MESSAGE_FIELDS = [
    "role",
    "id",
    "chatId",
    "createdAt",
    "content",
    "tokenCount",
    "cost",
    "responseTimeMs",
    "metadata",
    "toolCallId",
    "toolCalls",
    "files",
]


async def test_an_empty_list(world: World) -> None:
    page = await get(world, await token(world), "/v1/chats")
    assert page == {"items": [], "nextCursor": None, "hasMore": False, "totalCount": 0}


async def test_a_new_chat_answers_and_reads_back_with_every_field(world: World) -> None:
    headers = await token(world)
    model_id = await model_of(world)
    world.upstream.play(Script(["Hel", "lo"], usage=(3, 2)))
    answer = await ask(world, headers, "Hi", modelId=model_id, systemPrompt="Be brief.", maxTokens=20)
    assert answer["usage"] == {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
    assert answer["message"]["cost"] is None
    chat = await get(world, headers, f"/v1/chats/{answer['id']}")
    assert list(chat) == FIELDS
    assert all(list(message) == MESSAGE_FIELDS for message in chat["messages"])
    question, said = chat["messages"]
    assert said == answer["message"]
    assert (said["role"], said["content"], said["tokenCount"], said["chatId"]) == (
        "assistant",
        "Hello",
        2,
        chat["id"],
    )
    assert said["responseTimeMs"] >= 0
    assert (question["role"], question["content"], question["tokenCount"]) == ("user", "Hi", None)
    expected = {
        "organizationId": world.owner.organisation_id,
        "id": answer["id"],
        "modelId": model_id,
        "title": "Hi",
        "systemPrompt": "Be brief.",
        "metadata": None,
        "status": None,
        "lastError": None,
        "lastErrorAt": None,
        "model": None,
        "documentsCount": 0,
        "visibility": "private",
        "sharedWith": None,
        "deletedAt": None,
        "deletedBy": None,
        "source": "m2m",
        "sourceDetail": None,
        "ephemeral": False,
        "ephemeralExpiresAt": None,
    }
    assert {name: chat[name] for name in expected} == expected
    assert chat["createdAt"] < chat["updatedAt"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", chat["createdAt"])
    asked = world.upstream.requests[0]
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert asked["max_tokens"] == 20


async def test_who_made_it_and_how(world: World) -> None:
    member = await world.person()
    answer = await ask(world, member.bearer)
    chat = await get(world, member.bearer, f"/v1/chats/{answer['id']}")
    assert (chat["createdBy"], chat["source"]) == (member.principal_id, "api")
    service = await world.service()
    made = await world.native("POST", "/chats", service, origin="connector", source="slack")
    chat = await get(world, service.bearer, f"/v1/chats/{made['id']}")
    assert (chat["source"], chat["sourceDetail"], chat["createdBy"]) == (
        "connector",
        "slack",
        service.principal_id,
    )


async def test_a_chat_goes_on_with_its_history_and_its_model(world: World) -> None:
    headers = await token(world)
    first = await ask(world, headers, "My name is Ada")
    second = await ask(world, headers, "What is my name?", chatId=first["id"], system_prompt="Remember.")
    assert second["id"] == first["id"]
    said = [turn["content"] for turn in world.upstream.requests[1]["messages"]]
    assert said == ["Remember.", "My name is Ada", "You said: My name is Ada", "What is my name?"]
    chat = await get(world, headers, f"/v1/chats/{first['id']}")
    assert [message["role"] for message in chat["messages"]] == ["user", "assistant"] * 2
    assert chat["systemPrompt"] == "Remember."
    assert chat["modelId"] == await model_of(world)
    written = [(message["role"], message["content"]) for message in chat["messages"]]
    assert await roles_and_texts(world, chat["id"]) == written


async def test_a_history_with_tools_reads_back(world: World) -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "clock", "arguments": '{"tz":"UTC"}'}}]
    history: list[dict[str, Any]] = [
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": None, "toolCalls": calls},
        {"role": "tool", "content": "12:00", "toolCallId": "c1"},
        {"role": "user", "content": "Thanks"},
    ]
    body = {"messages": history}
    response = await world.client.post("/v1/chats", headers=world.owner.bearer, json=body)
    chat = await get(world, world.owner.bearer, f"/v1/chats/{response.json()['id']}")
    told = [
        {name: message[name] for name in ("role", "content", "toolCallId", "toolCalls")}
        for message in chat["messages"][:-1]
    ]
    assert told == [{"toolCallId": None, "toolCalls": None, **message} for message in history]


async def test_a_native_chat_reads_well(world: World) -> None:
    member = await world.person()
    made = await world.native(
        "POST",
        "/chats",
        member,
        title="Native",
        metadata={"a": [1, {"b": None}]},
        visibility="shared",
        shared_with=[world.owner.principal_id],
        messages=[{"role": "system", "content": "S"}, {"role": "user", "content": "U", "metadata": {"x": 1}}],
    )
    path = f"/chats/{made['id']}/documents"
    await world.native("POST", path, member, filename="a.txt", text="hello")
    chat = await get(world, member.bearer, f"/v1/chats/{made['id']}")
    assert (chat["title"], chat["metadata"]) == ("Native", {"a": [1, {"b": None}]})
    assert (chat["visibility"], chat["sharedWith"]) == ("shared", [world.owner.principal_id])
    assert chat["documentsCount"] == 1
    assert [(message["role"], message["content"]) for message in chat["messages"]] == [
        ("system", "S"),
        ("user", "U"),
    ]
    assert chat["messages"][1]["metadata"] == {"x": 1}


async def test_the_model_is_expanded_and_looked_up_afresh(world: World) -> None:
    headers = world.owner.bearer
    card: dict[str, Any] = {
        "display_name": "Mine",
        "context_window": 4096,
        "parent_model_id": await model_of(world),
    }
    model_id = (await world.native("POST", "/models", **card))["id"]
    chat_id = (await ask(world, headers, modelId=model_id))["id"]
    path = f"/v1/chats/{chat_id}"
    plain = await get(world, headers, path)
    assert plain["model"] is None
    for query in (EXPANDED, "expand%5B%5D=model", "expand[]=model&expand[]=versions"):
        chat = await get(world, headers, f"{path}?{query}")
        assert chat["model"]["displayName"] == "Mine"
        assert chat["model"]["id"] == model_id == chat["modelId"]
        assert {**chat, "model": None} == plain
    for query in ("expand[]=versions", "expand[]=nonsense"):
        assert await get(world, headers, f"{path}?{query}") == plain
    await world.native("PUT", f"/models/{model_id}", **{**card, "display_name": "Renamed"})
    assert (await get(world, headers, f"{path}?{EXPANDED}"))["model"]["displayName"] == "Renamed"
    assert (await get(world, headers, f"/v1/chats?{EXPANDED}"))["items"][0]["model"][
        "displayName"
    ] == "Renamed"
    assert (await get(world, headers, "/v1/chats"))["items"][0]["model"] is None
    await world.native("DELETE", f"/models/{model_id}")
    gone = await get(world, headers, f"{path}?{EXPANDED}")
    assert (gone["model"], gone["modelId"]) == (None, model_id)


async def test_the_catalogue_pages(world: World) -> None:
    for number in range(3):
        await world.native(
            "POST", "/models", display_name=f"M{number}", context_window=10, supports_tools=number == 1
        )
    headers = await token(world)
    names: list[str] = []
    cursor, pages = "", 0
    while True:
        page = await get(world, headers, f"/v1/models?limit=3{cursor}")
        names += [model["displayName"] for model in page["items"]]
        pages += 1
        if not page["hasMore"]:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert page["nextCursor"] is None
    assert (sorted(names), pages) == (["M0", "M1", "M2", "scripted"], 2)
    missing = await world.client.get("/v1/models/nope", headers=headers)
    check_problem(missing, 404, "Not Found", "Model not found.")


async def test_a_chat_older_than_all_models_takes_the_first_one(world: World) -> None:
    (model,) = (await world.native("GET", "/models"))["items"]
    await asyncio.gather(*[task for task in asyncio.all_tasks() if task.get_name() == "model discovery"])
    await world.system.store.write(None, _forget_models)
    chat = await world.native("POST", "/chats", messages=[{"role": "user", "content": "early"}])
    path, headers = f"/v1/chats/{chat['id']}", world.owner.bearer
    response = await world.client.get(path, headers=headers)
    assert response.json()["modelId"] == ""
    unchanged = {**headers, "if-none-match": response.headers["etag"]}
    assert (await world.client.get(path, headers=unchanged)).status_code == 304
    made = await world.native("POST", "/models", display_name="Late", context_window=1)
    assert made["id"] != model["id"]
    read = await get(world, headers, f"{path}?{EXPANDED}")
    assert read["modelId"] == made["id"] == read["model"]["id"]
    assert (await get(world, unchanged, path))["modelId"] == made["id"]
    assert (await get(world, headers, f"/v1/chats?{EXPANDED}"))["items"][0]["modelId"] == made["id"]
    patched = await world.client.patch(path, headers=headers, json={"title": "T"})
    assert patched.json()["modelId"] == made["id"]


async def _forget_models(tx: Any) -> None:
    # There is no verb to delete a system model; a server that found none yet looks like this.
    tx._connection.execute("DELETE FROM models")


async def test_the_list_is_ones_own_and_pages_without_loss(world: World) -> None:
    member, other = await world.person(), await world.person()
    mine = [(await ask(world, member.bearer, f"Chat {number}"))["id"] for number in range(5)]
    await world.native("POST", "/chats", other, visibility="organization")
    cursor = ""
    seen: list[Any] = []
    for expected in (2, 2, 1):
        page = await get(world, member.bearer, f"/v1/chats?limit=2{cursor}")
        assert (len(page["items"]), page["totalCount"]) == (expected, 5)
        assert page["hasMore"] is (page["nextCursor"] is not None)
        seen += page["items"]
        cursor = f"&cursor={page['nextCursor']}"
    assert page["nextCursor"] is None
    assert [item["id"] for item in seen] == mine[::-1]
    assert list(seen[0]) == [
        *("createdAt", "updatedAt", "organizationId", "id", "title", "modelId", "status", "deletedAt"),
        "model",
    ]
    full = await get(world, member.bearer, f"/v1/chats/{mine[0]}")
    assert seen[-1] == {name: full[name] for name in seen[-1]}
    for query in ("limit=0", "limit=101", "limit=x", "cursor=nonsense", "cursor=WzEsMl0"):
        response = await world.client.get(f"/v1/chats?{query}", headers=member.bearer)
        check_problem(response, 422, "Validation error")


async def test_patch_changes_what_it_names(world: World) -> None:
    headers = await token(world)
    chat_id = (await ask(world, headers))["id"]
    path = f"/v1/chats/{chat_id}"
    before = await get(world, headers, path)
    changes: dict[str, Any] = {"title": "New", "systemPrompt": "P", "metadata": {"k": [1]}}
    response = await world.client.patch(path, headers=headers, json=changes)
    assert response.status_code == 200
    after = response.json()
    assert after["updatedAt"] > before["updatedAt"]
    assert after == {**before, **changes, "updatedAt": after["updatedAt"]}
    assert await get(world, headers, path) == after
    cleared = await world.client.patch(
        path, headers=headers, json={"title": None, "metadata": None, "system_prompt": None}
    )
    assert [cleared.json()[name] for name in changes] == [None, None, None]
    unchanged = await world.client.patch(path, headers=headers, json={})
    assert unchanged.json() == cleared.json()


async def test_patch_refuses(world: World) -> None:
    headers = await token(world)
    path = f"/v1/chats/{(await ask(world, headers))['id']}"
    assert (await world.client.patch(path, headers=headers, json={"title": "x" * 500})).status_code == 200
    bodies: list[tuple[Any, str]] = [
        ({"title": "x" * 501}, "title: "),
        ({"title": 5}, "title: "),
        ({"metadata": [1]}, "metadata: "),
        ({"visibility": "public"}, "visibility: "),
        ({"sharedWith": ["nobody"]}, "sharedWith: "),
        ({"systemPrompt": "p" * 100_001}, "systemPrompt: "),
        ({"systemPrompt": "a", "system_prompt": "b"}, ""),
        ({"status": "error"}, "status: "),
        ([], ""),
    ]
    for body, start in bodies:
        response = await world.client.patch(path, headers=headers, json=body)
        check_problem(response, 422, "Validation error")
        assert response.json()["detail"].startswith(start), body


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
