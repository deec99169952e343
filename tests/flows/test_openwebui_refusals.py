"""What Open WebUI's clients are refused, and how they are told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows.openwebui_asking import CHATS, NOT_FOUND, PREFIX, PRINTED, PROHIBITED, ask, make, read
from tests.world import World


async def test_delete_is_for_ever(world: World) -> None:
    chat_id = (await make(world, PRINTED["chat"]))["id"]
    deleted = await ask(world, "DELETE", f"{CHATS}/{chat_id}")
    assert (deleted.status_code, deleted.content) == (200, b"true")
    again = await ask(world, "DELETE", f"{CHATS}/{chat_id}")
    assert (again.status_code, again.json()) == (404, NOT_FOUND)
    gone = await ask(world, "GET", f"{CHATS}/{chat_id}")
    assert (gone.status_code, gone.json()) == (401, NOT_FOUND)
    assert (await ask(world, "POST", f"/chatkeep/v1/chats/{chat_id}/restore")).status_code == 404


async def test_unknown_foreign_and_malformed_ids_look_alike(world: World) -> None:
    elsewhere = await world.organisation()
    foreign = (await make(world, PRINTED["chat"], elsewhere))["id"]
    private = (await make(world, PRINTED["chat"]))["id"]
    member = await world.person()
    ids = [foreign, private, "550e8400-e29b-41d4-a716-446655440000", "%20", "a%00b", "x" * 500, "new"]
    for method, status in (("GET", 401), ("DELETE", 404)):
        for prefix in ("", PREFIX):
            answers = [await ask(world, method, f"{prefix}{CHATS}/{each}", member) for each in ids]
            assert {(each.status_code, each.content) for each in answers} == {(status, answers[0].content)}
            assert answers[0].json() == NOT_FOUND
            heads = [{k: v for k, v in each.headers.items() if k != "x-request-id"} for each in answers]
            assert all(head == heads[0] for head in heads)


async def test_reading_is_not_deleting(world: World) -> None:
    member = await world.person()
    chat_id = (await make(world, PRINTED["chat"]))["id"]
    await world.native("PATCH", f"/chats/{chat_id}", visibility="organization")
    refused = await ask(world, "DELETE", f"{CHATS}/{chat_id}", member)
    assert (refused.status_code, refused.json()) == (401, PROHIBITED)
    narrow = await world.person(scopes=("chat:read",))
    refused = await ask(world, "POST", f"{CHATS}/new", narrow, json={"chat": {}})
    assert (refused.status_code, refused.json()) == (401, PROHIBITED)


async def test_folders_are_looked_up(world: World) -> None:
    folder = await world.native("POST", "/folders", name="F")
    made = await make(world, {"title": "In"}, folder_id=folder["id"])
    assert made["folder_id"] == (await read(world, made["id"]))["folder_id"] == folder["id"]
    for wrong in ("nope", "no pe"):
        refused = await ask(world, "POST", f"{CHATS}/new", json={"chat": {}, "folder_id": wrong})
        assert (refused.status_code, refused.json()) == (404, NOT_FOUND)


async def test_one_key_makes_one_chat(world: World) -> None:
    headers = {"Idempotency-Key": "once"}
    answers = [
        await ask(world, "POST", f"{CHATS}/new", json={"chat": PRINTED["chat"]}, headers=headers)
        for _ in range(2)
    ]
    assert answers[0].content == answers[1].content
    assert (await world.native("GET", "/chats"))["total_count"] == 1


def message(**more: Any) -> dict[str, Any]:
    return {"role": "user", "content": "x", **more}


def history(current: Any = None, **messages: Any) -> dict[str, Any]:
    return {"history": {"messages": messages, "currentId": current}}


BROKEN: list[tuple[dict[str, Any], list[Any]]] = [
    ({"title": None}, ["title"]),
    ({"title": "x" * 501}, ["title"]),
    ({"params": {"system": "x" * 100_001}}, ["params", "system"]),
    ({"history": None}, ["history"]),
    ({"history": []}, ["history"]),
    ({"history": {"messages": [1]}}, ["history", "messages"]),
    (history(a=1), ["history", "messages", "a"]),
    (history(a=message(id="b")), ["history", "messages", "a", "id"]),
    (history(a=message(id=5)), ["history", "messages", "a", "id"]),
    (history(a=message(role="robot")), ["history", "messages", "a", "role"]),
    (history(a=message(role=["user"])), ["history", "messages", "a", "role"]),
    (history(a={"content": "x"}), ["history", "messages", "a", "role"]),
    (history(a=message(content=[{"type": "text"}])), ["history", "messages", "a", "content"]),
    (history(a=message(content=7)), ["history", "messages", "a", "content"]),
    (history(a=message(content="x" * 100_001)), ["history", "messages", "a", "content"]),
    (history(a=message(parentId="gone")), ["history", "messages", "a", "parentId"]),
    (history(a=message(parentId=["a"])), ["history", "messages", "a", "parentId"]),
    (history(a=message(parentId="a")), ["history", "messages", "a", "parentId"]),
    (
        history(r=message(parentId=None), a=message(parentId="b"), b=message(parentId="a")),
        ["history", "messages", "a", "parentId"],
    ),
    (history("gone", a=message()), ["history", "currentId"]),
    (history(["a"], a=message()), ["history", "currentId"]),
    (history("a"), ["history", "currentId"]),
    (history(**{"a b": message()}), ["history", "messages", "a b", "id"]),
    (history(**{"": message()}), ["history", "messages", "", "id"]),
    ({"messages": "text"}, ["messages"]),
    ({"messages": [message()] * 1001}, ["messages"]),
    ({"messages": [message(id="a"), message(id="a")]}, ["messages", 1, "id"]),
    ({"messages": [message(id="")]}, ["messages", 0, "id"]),
    ({"messages": [None]}, ["messages", 0]),
    ({"messages": [message(), message(content="x" * 100_001)]}, ["messages", 1, "content"]),
]


@pytest.mark.parametrize(("chat", "where"), BROKEN, ids=lambda value: repr(value)[:40])
async def test_what_is_no_chat_is_refused_whole(world: World, chat: dict[str, Any], where: list[Any]) -> None:
    response = await ask(world, "POST", f"{CHATS}/new", json={"chat": chat})
    assert response.status_code == 422, response.text
    (fault,) = response.json()["detail"]
    assert set(fault) == {"type", "loc", "msg"}
    assert fault["loc"] == ["body", "chat", *where]
    assert (await world.native("GET", "/chats"))["total_count"] == 0


async def test_failed_validation_is_a_list(world: World) -> None:
    async def faults(content: bytes | str) -> Any:
        response = await ask(
            world, "POST", f"{CHATS}/new", content=content, headers={"Content-Type": "application/json"}
        )
        assert response.status_code == 422
        return response.json()["detail"]

    assert await faults("{}") == [{"type": "missing", "loc": ["body", "chat"], "msg": "Field required"}]
    assert await faults("") == [{"type": "missing", "loc": ["body"], "msg": "Field required"}]
    assert [each["loc"] for each in await faults('{"chat": "secret", "variables": []}')] == [
        ["body", "chat"],
        ["body", "variables"],
    ]
    assert "secret" not in str(await faults('{"chat": "secret"}'))
    (broken,) = await faults('{"chat": {"a": 1,}')
    assert (broken["type"], broken["loc"]) == ("json_invalid", ["body"])
    assert (await faults('{"chat": {"a": 1, "a": 2}}'))[0]["type"] == "json_invalid"
    assert (await faults('{"chat": {"a": "\\u0000"}}'))[0]["loc"] == ["body", "chat", "a"]


async def test_http_errors_in_the_vendors_shape(world: World) -> None:
    large = await ask(world, "POST", f"{CHATS}/new", json={"chat": {"x": "y" * 1_100_000}})
    assert (large.status_code, list(large.json())) == (413, ["detail"])
    form = await ask(world, "POST", f"{CHATS}/new", data={"chat": "x"})
    assert (form.status_code, list(form.json())) == (415, ["detail"])
    nothing = await ask(world, "GET", "/api/v1/nothing")
    assert (nothing.status_code, nothing.json()) == (404, {"detail": "Not Found"})
    method = await ask(world, "PUT", f"{CHATS}/abc")
    assert (method.status_code, method.json()) == (405, {"detail": "Method Not Allowed"})
    assert "GET" in method.headers["allow"]
    # What is not served yet is not there; a 401 would make the vendor's front end sign people out.
    for path in ("", "/", "/pinned", "/all", "/search?text=x"):
        absent = await ask(world, "GET", CHATS + path)
        assert (absent.status_code, absent.json()) == (404, {"detail": "Not Found"})


async def test_openapi_describes_the_vendors_routes(world: World) -> None:
    paths = (await world.client.get(f"{PREFIX}/openapi.json")).json()["paths"]
    assert set(paths[f"{CHATS}/{{chat_id}}"]) == {"get", "delete"}
    assert {f"{CHATS}/new", "/api/chats/{chat_id}", "/api/v1/auths/", "/api/v1/auths/signin"} <= set(paths)
