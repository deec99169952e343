"""Open WebUI's chats as its clients use them, at the root, under the seed's address and under the prefix."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.flows.openwebui_asking import (
    CHATS,
    PREFIX,
    PRINTED,
    TREE,
    ask,
    attributed,
    make,
    read,
)
from tests.upstream import DONE, Raw, Script, finish_event, text_event
from tests.world import World


async def test_it_reads_alike_at_every_address(world: World) -> None:
    chat_id = (await make(world, PRINTED["chat"]))["id"]
    addresses = [
        f"{prefix}{chats}/{chat_id}{end}"
        for prefix in ("", PREFIX)
        for chats in (CHATS, "/api/chats")
        for end in ("", "/")
    ]
    bodies = {(await ask(world, "GET", address)).content for address in addresses}
    assert len(bodies) == 1
    at_seed = await ask(world, "POST", "/api/chats/new", json={"chat": {"title": "Seed door"}})
    assert (at_seed.status_code, at_seed.json()["title"]) == (200, "Seed door")


async def test_every_key_of_a_tree_survives(world: World) -> None:
    made = await make(world, TREE, variables={"{{USER_NAME}}": "Ada"})
    expected = attributed(TREE, world.owner.principal_id, "Owner")
    assert made["chat"] == expected
    assert "share_mode" not in made["chat"]
    got = await read(world, made["id"])
    assert got["chat"] == {**expected, "share_mode": "continue"}
    assert {name: got[name] for name in got if name != "chat"} == {
        name: made[name] for name in made if name != "chat"
    }
    assert got["variables"] == {"{{USER_NAME}}": "Ada"}
    assert (got["title"], got["current_message_id"]) == ("Tree", "b2")


async def test_a_tree_reads_in_the_native_dialect(world: World) -> None:
    chat_id = (await make(world, TREE))["id"]
    native = await world.native("GET", f"/chats/{chat_id}")
    assert [(m["role"], m["content"]) for m in native["messages"]] == [
        ("user", "Ask"),
        ("assistant", "Second try"),
    ]
    assert (native["title"], native["system_prompt"], native["dialect"]) == ("Tree", "Be brief.", "openwebui")
    assert (native["message_count"], native["current_message_id"]) == (2, "b2")
    assert native["messages"][0]["created_at"] == "2024-02-29T00:00:00Z"
    assert native["messages"][0]["children_ids"] == ["b1", "b2"]
    assert (native["messages"][1]["input_tokens"], native["messages"][1]["output_tokens"]) == (5, 7)
    every = (await world.native("GET", f"/chats/{chat_id}/messages?branch=all"))["items"]
    assert [m["id"] for m in every] == ["q", "b1", "b2"]
    assert (every[1]["status"], every[1]["error"]) == ("error", "Upstream said no")


async def test_the_seeds_messages_are_one_path_elsewhere(world: World) -> None:
    chat_id = (await make(world, PRINTED["chat"]))["id"]
    native = await world.native("GET", f"/chats/{chat_id}")
    assert [m["id"] for m in native["messages"]] == ["msg-1", "msg-2"]
    assert native["messages"][1]["parent_id"] == "msg-1"


async def test_what_native_writes_shows_in_the_vendors_shape(world: World) -> None:
    chat_id = (await make(world, PRINTED["chat"]))["id"]
    before = await read(world, chat_id)
    world.clock.advance(100)
    answer = await world.native("POST", f"/chats/{chat_id}/generate", message="And now?")
    after = await read(world, chat_id)
    model = (await world.native("GET", "/models"))["items"][0]
    history = after["chat"]["history"]
    question_id, answer_id = answer["question_id"], answer["message"]["id"]
    assert list(history["messages"]) == ["msg-1", "msg-2", question_id, answer_id]
    assert history["currentId"] == after["current_message_id"] == answer_id
    first, second, question, said = history["messages"].values()
    assert (first["parentId"], first["childrenIds"], second["childrenIds"]) == (
        None,
        ["msg-2"],
        [question_id],
    )
    assert question == {
        "id": question_id,
        "parentId": "msg-2",
        "childrenIds": [answer_id],
        "role": "user",
        "content": "And now?",
        "timestamp": 1767268900,
        "models": [model["id"]],
        "user_id": world.owner.principal_id,
        "user": {"id": world.owner.principal_id, "name": "Owner"},
    }
    usage = answer["usage"]
    assert said == {
        "id": answer_id,
        "parentId": question_id,
        "childrenIds": [],
        "role": "assistant",
        "content": answer["message"]["content"],
        "timestamp": 1767268900,
        "model": model["id"],
        "modelName": model["display_name"],
        "modelIdx": 0,
        "done": True,
        "usage": {
            "prompt_tokens": usage["input_tokens"],
            "completion_tokens": usage["output_tokens"],
            "total_tokens": usage["total_tokens"],
            "input_tokens": usage["input_tokens"],
            "output_tokens": usage["output_tokens"],
        },
        "user_id": world.owner.principal_id,
    }
    assert after["updated_at"] - before["updated_at"] == 100


async def test_a_chat_from_native_reads_well(world: World) -> None:
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    made = await world.native(
        "POST",
        "/chats",
        messages=said,
        system_prompt="Be kind.",
        metadata={"a": 1},
        tags=["My Work"],
        pinned=True,
    )
    got = await read(world, made["id"])
    assert got["title"] == got["chat"]["title"] == made["title"] == "Hi"
    assert got["chat"]["models"] == [made["model_id"]]
    assert got["chat"]["params"] == {"system": "Be kind."}
    assert got["chat"]["timestamp"] == 1767268800000
    assert got["meta"] == {"a": 1, "tags": ["my_work"]}
    assert (got["pinned"], got["archived"], got["variables"]) == (True, False, {})
    ids = [message["id"] for message in made["messages"]]
    assert list(got["chat"]["history"]["messages"]) == ids
    assert got["chat"]["history"]["currentId"] == ids[-1]
    untitled = await read(world, (await world.native("POST", "/chats", pinned=False))["id"])
    assert (untitled["title"], untitled["current_message_id"]) == ("New Chat", None)
    assert untitled["chat"]["history"] == {"messages": {}, "currentId": None}


async def test_changes_made_elsewhere_show(world: World) -> None:
    chat_id = (await make(world, TREE))["id"]
    model_id = (await world.native("GET", "/models"))["items"][0]["id"]
    other = await world.native(
        "POST", "/models", display_name="Other", context_window=1000, parent_model_id=model_id
    )
    folder = await world.native("POST", "/folders", name="F")
    await world.native(
        "PATCH",
        f"/chats/{chat_id}",
        title="New name",
        system_prompt="Be long.",
        model_id=other["id"],
        archived=True,
        pinned=True,
        folder_id=folder["id"],
        current_message_id="b1",
    )
    shared = await world.native("POST", f"/chats/{chat_id}/share")
    got = await read(world, chat_id)
    assert got["title"] == got["chat"]["title"] == "New name"
    assert got["chat"]["params"] == {"temperature": 0.5, "system": "Be long."}
    assert got["chat"]["models"] == [other["id"]]
    assert (got["archived"], got["pinned"], got["folder_id"]) == (True, True, folder["id"])
    assert got["share_id"] == shared["id"]
    assert got["chat"]["history"]["currentId"] == got["current_message_id"] == "b1"
    await world.native("PATCH", f"/chats/{chat_id}", title=None, system_prompt=None)
    got = await read(world, chat_id)
    assert got["title"] == got["chat"]["title"] == "New Chat"
    assert got["chat"]["params"] == {"temperature": 0.5}


async def test_a_known_model_becomes_the_chats(world: World) -> None:
    model_id = (await world.native("GET", "/models"))["items"][0]["id"]
    other = await world.native(
        "POST", "/models", display_name="Other", context_window=1000, parent_model_id=model_id
    )
    history = {"messages": {"a": {"id": "a", "role": "assistant", "content": "x", "model": other["id"]}}}
    made = await make(world, {"models": [other["id"], "unknown"], "history": history})
    native = await world.native("GET", f"/chats/{made['id']}")
    assert (native["model_id"], native["messages"][0]["model_id"]) == (other["id"], other["id"])
    assert made["chat"]["models"] == [other["id"], "unknown"]


@pytest.mark.parametrize(
    "chat", [{}, {"title": ""}, {"title": "T", "history": {"messages": {}, "currentId": None}}]
)
async def test_chats_without_messages(world: World, chat: dict[str, Any]) -> None:
    made = await make(world, chat)
    assert made["title"] == chat.get("title", "New Chat")
    assert made["chat"] == chat
    assert (await read(world, made["id"]))["chat"] == {**chat, "share_mode": "continue"}
    await world.native(
        "POST", f"/chats/{made['id']}/messages", messages=[{"role": "user", "content": "Hello"}]
    )
    got = await read(world, made["id"])
    assert got["title"] == chat.get("title", "New Chat")
    (message,) = got["chat"]["history"]["messages"].values()
    assert (message["content"], message["parentId"], got["current_message_id"]) == (
        "Hello",
        None,
        message["id"],
    )


async def test_the_old_flat_list(world: World) -> None:
    listed = [
        {"role": "user", "content": "One"},
        {"id": "two", "role": "assistant", "content": "Two", "x": 1},
    ]
    made = await make(world, {"title": "Old", "messages": listed})
    assert made["chat"] == {"title": "Old", "messages": listed}
    native = await world.native("GET", f"/chats/{made['id']}")
    assert [m["content"] for m in native["messages"]] == ["One", "Two"]
    await world.native(
        "POST", f"/chats/{made['id']}/messages", messages=[{"role": "user", "content": "Three"}]
    )
    messages = (await read(world, made["id"]))["chat"]["history"]["messages"].values()
    assert [message["content"] for message in messages] == ["One", "Two", "Three"]
    assert [message["parentId"] for message in messages] == [None, *(message["id"] for message in messages)][
        :3
    ]


async def test_share_mode_tells_who_may_write(world: World) -> None:
    member = await world.person()
    other = await world.person()
    reader = await world.person(scopes=("chat:read",))
    chat_id = (await make(world, PRINTED["chat"], member))["id"]
    await world.native("PATCH", f"/chats/{chat_id}", member, visibility="organization")
    for _ in range(2):  # the second time from the cache
        modes = [
            (await read(world, chat_id, each))["chat"]["share_mode"]
            for each in (member, other, reader, world.owner)
        ]
        assert modes == ["continue", None, None, "continue"]
    got = await read(world, chat_id, other)
    assert got["user_id"] == member.principal_id
    assert got["chat"]["history"]["messages"]["msg-1"]["user"] == {
        "id": member.principal_id,
        "name": "Person 1",
    }


async def test_another_author_is_named(world: World) -> None:
    member = await world.person()
    chat_id = (await make(world, PRINTED["chat"], member))["id"]
    await world.native(
        "POST", f"/chats/{chat_id}/messages", messages=[{"role": "user", "content": "From above"}]
    )
    *_, last = (await read(world, chat_id, member))["chat"]["history"]["messages"].values()
    assert last["user"] == {"id": world.owner.principal_id, "name": "Owner"}
    assert last["user_id"] == world.owner.principal_id


async def test_an_unchanged_chat_is_304_and_a_changed_one_is_not(world: World) -> None:
    chat_id = (await make(world, PRINTED["chat"]))["id"]
    first = await ask(world, "GET", f"/api/chats/{chat_id}")
    asked = {"If-None-Match": first.headers["etag"]}
    again = await ask(world, "GET", f"/api/chats/{chat_id}", headers=asked)
    assert (again.status_code, again.content) == (304, b"")
    await world.native("PATCH", f"/chats/{chat_id}", title="Moved")
    moved = await ask(world, "GET", f"/api/chats/{chat_id}", headers=asked)
    assert (moved.status_code, moved.json()["title"]) == (200, "Moved")


async def test_text_under_way_shows(world: World) -> None:
    chat_id = (await make(world, PRINTED["chat"]))["id"]
    world.upstream.play(Raw([text_event("Half"), None, text_event(" and half"), finish_event(), DONE]))
    generating = asyncio.create_task(world.native("POST", f"/chats/{chat_id}/generate", message="Go"))
    async with asyncio.timeout(20):
        while True:
            under_way = await read(world, chat_id)
            tree = under_way["chat"]["history"]["messages"]
            partial = tree[under_way["current_message_id"]]
            if partial["content"] == "Half":
                break
            await asyncio.sleep(0)
    world.upstream.go_on()
    answer = (await generating)["message"]
    assert partial["id"] == answer["id"] == under_way["chat"]["history"]["currentId"]
    assert (partial["done"], partial["role"], partial["model"]) == (False, "assistant", answer["model_id"])
    (item,) = partial["output"]
    assert (item["status"], item["content"]) == ("in_progress", [{"type": "output_text", "text": "Half"}])
    parent = tree[partial["parentId"]]
    assert (parent["content"], parent["childrenIds"]) == ("Go", [answer["id"]])
    done = (await read(world, chat_id))["chat"]["history"]["messages"][answer["id"]]
    assert (done["done"], done["content"], "output" in done) == (True, "Half and half", False)


async def test_an_answer_that_broke_off_says_so(world: World) -> None:
    chat_id = (await make(world, PRINTED["chat"]))["id"]
    world.upstream.play(Script(["Half"], failure="cut"))
    failed = await ask(world, "POST", f"/chatkeep/v1/chats/{chat_id}/generate", json={"message": "Go"})
    error = failed.json()["detail"]
    got = await read(world, chat_id)
    tip = got["chat"]["history"]["messages"][got["current_message_id"]]
    assert (tip["content"], tip["done"], tip["error"]) == ("Half", True, {"content": error})
