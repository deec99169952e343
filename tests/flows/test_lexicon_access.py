"""Who may do what over Lexicon's API, and the shape of every refusal."""

from __future__ import annotations

import uuid

from tests.flows.lexicon_client import CHATS, NO_CHAT, NO_KEY, ask, make
from tests.world import World


async def test_who_may_only_read_a_chat_cannot_delete_it(world: World) -> None:
    chat = await world.native("POST", "/chats", visibility="organization")
    path = f"{CHATS}/{chat['id']}"
    for caller in (await world.person(), await world.person("read-only")):
        assert (await ask(world, "GET", path, caller)).status_code == 200
        refused = await ask(world, "DELETE", path, caller)
        assert refused.status_code == refused.json()["error"] == 403
    assert (await ask(world, "GET", path)).status_code == 200


async def test_a_key_needs_its_scopes(world: World) -> None:
    made = await make(world)
    narrow = await world.person("admin", scopes=("models:read",))
    reader = await world.person("admin", scopes=("chat:read",))
    path = f"{CHATS}/{made['id']}"
    for caller, method, at, scope in (
        (narrow, "GET", path, "chat:read"),
        (narrow, "GET", f"{path}/messages", "chat:read"),
        (reader, "DELETE", path, "chat:write"),
        (reader, "POST", f"{CHATS}/", "chat:write"),
    ):
        refused = await ask(world, method, at, caller, json={"user_id": "u"} if method == "POST" else None)
        assert (refused.status_code, refused.json()) == (
            403,
            {"error": 403, "message": f"Missing required scope: {scope}"},
        )


async def test_foreign_unknown_and_malformed_ids_look_the_same(world: World) -> None:
    other = await world.organisation()
    foreign = (await make(world, other))["id"]
    member = await world.person()
    private = (await make(world))["id"]
    unknown = str(uuid.UUID(int=7))
    for method, tail in (("GET", ""), ("GET", "/messages"), ("DELETE", "")):
        answers = [
            await ask(world, method, f"{CHATS}/{chat_id}{tail}", caller)
            for chat_id in (foreign, unknown, "nope", "a%20b", "%00", "x" * 500, "%F0%9F%8C%B1")
            for caller in (None, member)
        ]
        answers.append(await ask(world, method, f"{CHATS}/{private}{tail}", member))
        assert {answer.status_code for answer in answers} == {404}
        assert {answer.content for answer in answers} == {answers[0].content}
        assert answers[0].json() == NO_CHAT
        headers = [{**answer.headers, "x-request-id": ""} for answer in answers]
        assert all(each == headers[0] for each in headers)


async def test_the_key_goes_in_either_header(world: World) -> None:
    made = await make(world)
    for header in ("X-API-Key", "x-tenant-api-secret"):
        for path in (f"{CHATS}/{made['id']}", f"/lexicon{CHATS}/{made['id']}"):
            response = await world.client.get(path, headers={header: world.owner.key})
            assert (response.status_code, response.json()) == (200, made)


async def test_a_bearer_key_works_under_the_prefix(world: World) -> None:
    made = await make(world)
    response = await world.client.get(f"/lexicon{CHATS}/{made['id']}", headers=world.owner.bearer)
    assert (response.status_code, response.json()) == (200, made)


async def test_whoever_is_not_known_gets_401(world: World) -> None:
    made = await make(world)
    expired = await world.person(expires_in_s=60)
    revoked, disabled = await world.person("admin"), await world.person("admin")
    other = await world.organisation()
    await world.revoke(revoked)
    await world.disable(disabled)
    await world.suspend(other)
    world.clock.advance(61)
    keys = ["nonsense", f"{world.owner.key}x", expired.key, revoked.key, disabled.key, other.key]
    prefix = f"/lexicon{CHATS}"
    for method, path in (
        ("GET", f"{prefix}/{made['id']}"),
        ("GET", f"{prefix}/{made['id']}/messages"),
        ("DELETE", f"{prefix}/{made['id']}"),
        ("POST", f"{prefix}/"),
    ):
        body = {"user_id": "u"} if method == "POST" else None
        answers = [await world.client.request(method, path, json=body)]
        answers += [
            await world.client.request(method, path, json=body, headers={"X-API-Key": key}) for key in keys
        ]
        answers.append(
            await world.client.request(method, path, json=body, headers={"Authorization": "Basic eA=="})
        )
        assert {answer.status_code for answer in answers} == {401}
        assert [answer.json() for answer in answers] == [NO_KEY] * len(answers)
    assert (await ask(world, "GET", f"{CHATS}/{made['id']}")).status_code == 200


async def test_what_is_not_there_is_said_in_the_same_shape(world: World) -> None:
    for method, path, status in (
        ("GET", "/lexicon/nope", 404),
        ("GET", f"{CHATS}/a/b/c", 404),
        ("GET", f"{CHATS}/user/user123", 404),
        ("PUT", f"{CHATS}/{uuid.UUID(int=7)}", 405),
        ("GET", f"{CHATS}/", 405),
        ("PATCH", CHATS, 405),
    ):
        response = await ask(world, method, path)
        assert response.status_code == response.json()["error"] == status
        assert set(response.json()) == {"error", "message"}


async def test_other_bad_requests_are_said_in_the_same_shape(world: World) -> None:
    big = b'{"user_id": "u", "metadata": {"x": "' + b"m" * 1_100_000 + b'"}}'
    too_large = await ask(world, "POST", f"{CHATS}/", content=big)
    form = await ask(world, "POST", f"{CHATS}/", data={"user_id": "u"})
    for response, status in ((too_large, 413), (form, 415)):
        assert response.status_code == response.json()["error"] == status
        assert set(response.json()) == {"error", "message"}
