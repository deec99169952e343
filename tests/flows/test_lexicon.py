"""Lexicon's API as a tenant's backend uses it, at the root and under its prefix."""

from __future__ import annotations

from typing import Any

from tests.flows.lexicon_client import CHATS, NO_CHAT, ask, make
from tests.upstream import Script
from tests.world import World


async def say(world: World, chat_id: str, *texts: str) -> None:
    """Append through the native API, user and assistant in turn."""
    said = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    await world.native("POST", f"/chats/{chat_id}/messages", messages=said)


async def test_what_create_answers_is_what_get_answers(world: World) -> None:
    response = await ask(world, "POST", f"{CHATS}/", json={"user_id": "user123"})
    made = response.json()
    assert made | {"title": "New Chat", "config": {"metadata": {}}} == made
    assert made | {"last_message_at": None, "message_count": 0, "status": "active"} == made
    read = await ask(world, "GET", response.headers["location"])
    assert read.json() == made
    assert read.headers["etag"] == response.headers["etag"]


async def test_create_with_and_without_slash_and_prefix(world: World) -> None:
    for path in (f"{CHATS}/", CHATS, f"/lexicon{CHATS}/", f"/lexicon{CHATS}"):
        response = await ask(world, "POST", path, json={"user_id": "u"})
        assert response.status_code == 201
        assert response.headers["location"] == f"{path.rstrip('/')}/{response.json()['id']}"


async def test_a_chat_is_the_named_users_own(world: World) -> None:
    first, second = await make(world), await make(world)
    stranger = await make(world, user_id="Zoë / Klasse 5b")
    assert stranger["user_id"] == "Zoë / Klasse 5b"
    one, two, three = [
        (await world.native("GET", f"/chats/{each['id']}"))["owner_id"] for each in (first, second, stranger)
    ]
    assert one == two != three
    assert world.owner.principal_id not in (one, three)


async def test_what_get_prints_as_user_id_names_the_same_person(world: World) -> None:
    native = await world.native("POST", "/chats", title="Mine")
    read = (await ask(world, "GET", f"{CHATS}/{native['id']}")).json()
    assert read["user_id"] == world.owner.principal_id
    made = await make(world, user_id=read["user_id"])
    assert made["user_id"] == world.owner.principal_id
    assert (await world.native("GET", f"/chats/{made['id']}"))["owner_id"] == world.owner.principal_id


async def test_a_member_creates_only_for_itself(world: World) -> None:
    member = await world.person()
    made = await make(world, member, user_id=member.principal_id)
    assert made["user_id"] == member.principal_id
    for other in ("user123", world.owner.principal_id):
        refused = await ask(world, "POST", f"{CHATS}/", member, json={"user_id": other})
        assert refused.status_code == 403
        assert refused.json() == {
            "error": 403,
            "message": "Only an administrator's key may act for other users.",
        }
    assert (await ask(world, "GET", f"{CHATS}/{made['id']}", member)).json() == made
    theirs = await make(world)
    assert (await ask(world, "GET", f"{CHATS}/{theirs['id']}", member)).json() == NO_CHAT


async def test_an_administrators_service_key_vouches_for_users(world: World) -> None:
    made = await make(world, await world.service("admin"), user_id="pupil-7")
    assert made["user_id"] == "pupil-7"
    assert (await ask(world, "GET", f"{CHATS}/{made['id']}")).json() == made


async def test_two_tenants_may_use_the_same_user_id(world: World) -> None:
    other = await world.organisation()
    ours, theirs = await make(world), await make(world, other)
    assert ours["user_id"] == theirs["user_id"] == "user123"
    assert ours["tenant_id"] != theirs["tenant_id"] == other.organisation_id
    assert (await ask(world, "GET", f"{CHATS}/{theirs['id']}")).json() == NO_CHAT


async def test_a_missing_title_comes_from_the_first_message(world: World) -> None:
    made = await make(world, title="  ")
    assert made["title"] == "New Chat"
    await say(world, made["id"], "How do plants eat light?")
    assert (await ask(world, "GET", f"{CHATS}/{made['id']}")).json()["title"] == "How do plants eat light?"


async def test_metadata_comes_back_as_it_was(world: World) -> None:
    metadata = {"z": [1, 2.5, None, True, {"ä": "🌱"}], "a": {}, "": "empty key"}
    made = await make(world, metadata=metadata)
    assert made["config"] == {"metadata": metadata}
    assert list(made["config"]["metadata"]) == list(metadata)
    assert (await world.native("GET", f"/chats/{made['id']}"))["metadata"] == metadata


async def test_config_may_be_sent_as_it_is_printed(world: World) -> None:
    config = {"metadata": {"a": 1}, "theme": "dark", "tools": ["x"]}
    made = await make(world, config=config)
    assert (await ask(world, "GET", f"{CHATS}/{made['id']}")).json()["config"] == config
    made = await make(world, config=config, metadata={"b": 2})
    assert made["config"] == {**config, "metadata": {"b": 2}}


async def test_status_follows_the_session(world: World) -> None:
    made = await make(world)
    for state, status in (("completed", "closed"), ("cancelled", "closed"), ("ongoing", "active")):
        await world.native("PATCH", f"/chats/{made['id']}", session_state=state)
        assert (await ask(world, "GET", f"{CHATS}/{made['id']}")).json()["status"] == status


async def test_an_unchanged_chat_is_304(world: World) -> None:
    made = await make(world)
    etag = (await ask(world, "GET", f"{CHATS}/{made['id']}")).headers["etag"]
    again = await ask(world, "GET", f"{CHATS}/{made['id']}", headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    await say(world, made["id"], "Hi")
    after = await ask(world, "GET", f"{CHATS}/{made['id']}", headers={"if-none-match": etag})
    assert (after.status_code, after.json()["message_count"]) == (200, 1)


async def test_the_same_idempotency_key_makes_one_chat(world: World) -> None:
    body, headers = {"user_id": "u"}, {"Idempotency-Key": "k1"}
    first = await ask(world, "POST", f"{CHATS}/", json=body, headers=headers)
    again = await ask(world, "POST", f"{CHATS}/", json=body, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    other = await ask(world, "POST", f"{CHATS}/", json={"user_id": "v"}, headers=headers)
    assert (other.status_code, other.json()["error"]) == (400, 400)


async def test_messages_of_a_generated_turn(world: World) -> None:
    made = await make(world, title="T")
    world.upstream.play(Script(["Grue", "zi"], usage=(11, 2)))
    await world.native("POST", f"/chats/{made['id']}/generate", message="Hello")
    page = (await ask(world, "GET", f"{CHATS}/{made['id']}/messages")).json()
    said = page.pop("messages")
    assert page == {"total": 2, "offset": 0, "limit": 50, "has_more": False}
    question, answer = said
    assert list(question) == [
        "id",
        "content",
        "sender_role",
        "media_type",
        "media_url",
        "created_at",
        "metadata",
    ]
    assert (question["sender_role"], question["content"], question["metadata"]) == ("user", "Hello", {})
    assert (answer["sender_role"], answer["content"]) == ("assistant", "Gruezi")
    assert answer["metadata"] == {"model": "scripted", "tokens_used": 2}
    assert (answer["media_type"], answer["media_url"]) == (None, None)
    read = (await ask(world, "GET", f"{CHATS}/{made['id']}")).json()
    assert (read["message_count"], read["last_message_at"]) == (2, answer["created_at"])


async def test_stored_metadata_and_media_of_messages_come_back(world: World) -> None:
    made = await make(world)
    agent = {"user_agent": "Mozilla/5.0"}
    said: list[dict[str, Any]] = [
        {
            "role": "user",
            "content": "Look",
            "metadata": agent,
            "media_type": "image/png",
            "media_url": "https://x/y",
        },
        {"role": "assistant", "content": "Nice", "metadata": {"model": "gpt-4", "tokens_used": 150}},
    ]
    await world.native("POST", f"/chats/{made['id']}/messages", messages=said)
    first, second = (await ask(world, "GET", f"{CHATS}/{made['id']}/messages")).json()["messages"]
    assert (first["metadata"], first["media_type"], first["media_url"]) == (agent, "image/png", "https://x/y")
    assert second["metadata"] == {"model": "gpt-4", "tokens_used": 150}


async def test_pages_of_messages(world: World) -> None:
    made = await make(world)
    empty = (await ask(world, "GET", f"{CHATS}/{made['id']}/messages")).json()
    assert empty == {"messages": [], "total": 0, "offset": 0, "limit": 50, "has_more": False}
    texts = [f"m{n}" for n in range(7)]
    await say(world, made["id"], *texts)
    seen: list[str] = []
    for offset in (0, 3, 6, 9):
        query = {"offset": offset, "limit": 3}
        page = (await ask(world, "GET", f"{CHATS}/{made['id']}/messages", params=query)).json()
        assert (page["total"], page["offset"], page["limit"]) == (7, offset, 3)
        assert page["has_more"] == (offset + len(page["messages"]) < 7)
        seen += [each["content"] for each in page["messages"]]
    assert seen == texts
    page = (await ask(world, "GET", f"{CHATS}/{made['id']}/messages?order=desc&limit=100")).json()
    assert [each["content"] for each in page["messages"]] == texts[::-1]


async def test_only_the_current_path_and_only_what_was_spoken(world: World) -> None:
    made = await make(world)
    path = f"/chats/{made['id']}"
    await world.native("POST", f"{path}/messages", messages=[{"role": "system", "content": "Be kind"}])
    await say(world, made["id"], "Question", "First answer")
    tree = await world.native("GET", path)
    question = tree["messages"][1]["id"]
    second = {"role": "assistant", "content": "Second answer", "parent_id": question}
    await world.native("POST", f"{path}/messages", messages=[second])
    page = (await ask(world, "GET", f"{CHATS}/{made['id']}/messages")).json()
    assert [each["content"] for each in page["messages"]] == ["Question", "Second answer"]
    read = (await ask(world, "GET", f"{CHATS}/{made['id']}")).json()
    assert read["message_count"] == page["total"] == 2


async def test_pages_of_a_users_chats(world: World) -> None:
    made = [await make(world, title=f"T{n}") for n in range(5)]
    await make(world, user_id="somebody else")
    path = f"{CHATS}/user/user123"
    whole = (await ask(world, "GET", path)).json()
    read = [(await ask(world, "GET", f"{CHATS}/{each['id']}")).json() for each in made]
    assert whole == {"chats": read[::-1], "total": 5, "offset": 0, "limit": 50, "has_more": False}
    for order, expected in (("asc", read), ("desc", read[::-1])):
        for limit in (1, 2, 5, 100):
            for offset in range(7):
                query = {"order": order, "limit": limit, "offset": offset}
                page = (await ask(world, "GET", path, params=query)).json()
                assert page["chats"] == expected[offset : offset + limit]
                assert (page["total"], page["offset"], page["limit"]) == (5, offset, limit)
                assert page["has_more"] == (offset + len(page["chats"]) < 5)
    await ask(world, "DELETE", f"{CHATS}/{made[0]['id']}")
    assert (await ask(world, "GET", path)).json()["total"] == 4


async def test_the_chats_of_nobody_are_404(world: World) -> None:
    await world.native("POST", "/chats")
    quiet = await world.person()
    for user_id in ("nobody", quiet.principal_id, "a%2Fb"):
        response = await ask(world, "GET", f"{CHATS}/user/{user_id}")
        assert response.status_code == response.json()["error"] == 404, user_id
    for no_id in ("%00", "x" * 201):
        response = await ask(world, "GET", f"{CHATS}/user/{no_id}")
        assert response.status_code == response.json()["error"] == 400, no_id
    own = await ask(world, "GET", f"{CHATS}/user/{world.owner.principal_id}")
    assert own.json()["total"] == 1


async def test_a_member_lists_only_its_own(world: World) -> None:
    member = await world.person()
    await make(world, member, user_id=member.principal_id)
    assert (await ask(world, "GET", f"{CHATS}/user/{member.principal_id}", member)).json()["total"] == 1
    assert (await ask(world, "GET", f"{CHATS}/user/{world.owner.principal_id}", member)).status_code == 403


BAD_PAGING = (
    "limit=101",
    "limit=0",
    "limit=-1",
    "limit=x",
    "limit=",
    "offset=-1",
    "offset=1.5",
    "offset=99999999999999999999",
    "order=foo",
    "order=ASC",
)


async def test_bad_paging_is_400(world: World) -> None:
    made = await make(world)
    for query in BAD_PAGING:
        for path in (f"{made['id']}/messages", "user/user123"):
            response = await ask(world, "GET", f"{CHATS}/{path}?{query}")
            assert response.status_code == response.json()["error"] == 400, query
            assert response.json()["message"].startswith(query.partition("=")[0] + ": ")


BAD_BODIES = (
    b"{",
    b"[]",
    b'"text"',
    b"",
    b'{"user_id": "u", "user_id": "v"}',
    b"{}",
    b'{"user_id": null}',
    b'{"user_id": ""}',
    b'{"user_id": "  "}',
    b'{"user_id": 5}',
    b'{"user_id": "a\\u0000b"}',
    b'{"user_id": "u", "title": 5}',
    b'{"user_id": "u", "metadata": []}',
    b'{"user_id": "u", "metadata": "x"}',
    b'{"user_id": "u", "config": {"metadata": 1}}',
    b'{"user_id": "u", "metadata": {"x": "\\ud800"}}',
    b'{"user_id": "u", "metadata": {"x": NaN}}',
    b'{"user_id": "' + b"u" * 201 + b'"}',
    b'{"user_id": "u", "title": "' + b"t" * 501 + b'"}',
    b'{"user_id": "u", "metadata": {"x": "' + b"m" * 65_536 + b'"}}',
)


async def test_bad_bodies_are_400_and_make_nothing(world: World) -> None:
    for body in BAD_BODIES:
        response = await ask(world, "POST", f"{CHATS}/", content=body)
        assert response.status_code == 400, (body[:60], response.text)
        assert response.json()["error"] == 400
        assert set(response.json()) == {"error", "message"}
    assert (await world.native("GET", "/chats?owner=any"))["total_count"] == 0


async def test_delete_is_for_ever(world: World) -> None:
    made = await make(world, title="Gone soon")
    await say(world, made["id"], "Hi", "Ho")
    path = f"{CHATS}/{made['id']}"
    assert (await ask(world, "GET", path)).status_code == 200
    response = await ask(world, "DELETE", path)
    assert response.status_code == 200
    answer = response.json()
    assert answer.pop("deleted_at") > made["created_at"]
    assert answer == {"success": True, "message": "Chat deleted successfully"}
    for method, at in (("GET", path), ("GET", f"{path}/messages"), ("DELETE", path)):
        gone = await ask(world, method, at)
        assert (gone.status_code, gone.json()) == (404, NO_CHAT)
    headers = world.owner.bearer
    restored = await world.client.post(f"/chatkeep/v1/chats/{made['id']}/restore", headers=headers)
    assert restored.status_code == 404
    await world.native("POST", "/chats", id=made["id"])
    again = (await ask(world, "GET", path)).json()
    assert (again["title"], again["message_count"]) == ("New Chat", 0)
    assert (await ask(world, "GET", f"{path}/messages")).json()["messages"] == []


async def test_a_chat_written_here_reads_the_same_in_the_native_dialect(world: World) -> None:
    made = await make(world, title="Both", metadata={"k": "v"})
    await world.native("POST", f"/chats/{made['id']}/generate", message="Hello there")
    native = await world.native("GET", f"/chats/{made['id']}")
    assert (native["title"], native["metadata"], native["dialect"]) == ("Both", {"k": "v"}, "lexicon")
    here = (await ask(world, "GET", f"{CHATS}/{made['id']}/messages")).json()["messages"]
    assert [(m["sender_role"], m["content"]) for m in here] == [
        (m["role"], m["content"]) for m in native["messages"]
    ]
    assert [m["id"] for m in here] == [m["id"] for m in native["messages"]]


async def test_the_machine_readable_description_is_served(world: World) -> None:
    document = (await world.client.get("/lexicon/openapi.json")).json()
    assert set(document["paths"]) == {
        "/api/v1/chats/user/{user_id}",
        f"{CHATS}/",
        f"{CHATS}/{{chat_id}}",
        f"{CHATS}/{{chat_id}}/messages",
    }
    schemes = document["components"]["securitySchemes"]
    assert [(each["type"], each["in"], each["name"]) for each in schemes.values()] == [
        ("apiKey", "header", "X-API-Key")
    ]
    assert (await world.client.get("/lexicon/docs")).status_code == 200
