"""Chats over Cuadra's API: scenario A of contracts/scenarios.md and section A6 of contracts/cuadra.md."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.flows.cuadra_client import (
    ask,
    check_problem,
    get,
    model_of,
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


@pytest.mark.sqlite
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
