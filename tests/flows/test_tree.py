"""Branches: a message may follow any other, and the current one decides which path is shown, counted and answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.flows.office import Office
from tests.upstream import DONE, Raw, finish_event, text_event

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def say(office: Office, chat: Any, *messages: dict[str, Any]) -> list[Any]:
    said = [{"role": "user", "content": message["id"], **message} for message in messages]
    return (await office.native("POST", f"/chats/{chat['id']}/messages", messages=said))["items"]


async def line(office: Office, *ids: str) -> Any:
    """A chat whose messages a, b, c ... follow each other."""
    messages = [
        {"id": name, "role": ("user", "assistant")[n % 2], "content": name} for n, name in enumerate(ids)
    ]
    return await office.native("POST", "/chats", messages=messages)


async def path_of(office: Office, chat: Any, query: str = "") -> list[str]:
    page = await office.native("GET", f"/chats/{chat['id']}/messages{query}")
    return [message["id"] for message in page["items"]]


async def test_a_second_answer_is_a_branch_and_becomes_current(office: Office) -> None:
    chat = await line(office, "a", "b", "c", "d")
    (other,) = await say(office, chat, {"id": "b2", "parent_id": "a", "role": "assistant"})
    assert (other["parent_id"], other["turn_number"], other["seq"]) == ("a", 2, 5)
    read = await office.read(chat["id"])
    assert [message["id"] for message in read["messages"]] == ["a", "b2"]
    assert read["current_message_id"] == "b2"
    assert read["message_count"] == 2
    assert read["messages"][0]["children_ids"] == ["b", "b2"]
    assert read["messages"][1]["children_ids"] == []
    assert await path_of(office, chat) == ["a", "b2"]
    assert await path_of(office, chat, "?branch=all") == ["a", "b", "c", "d", "b2"]


async def test_going_back_shows_counts_and_lists_the_shorter_path(office: Office) -> None:
    chat = await line(office, "a", "b", "c", "d")
    changed = await office.native("PATCH", f"/chats/{chat['id']}", current_message_id="b")
    assert (changed["current_message_id"], changed["message_count"]) == ("b", 2)
    read = await office.read(chat["id"])
    assert [message["id"] for message in read["messages"]] == ["a", "b"]
    assert await path_of(office, chat) == ["a", "b"]
    assert await path_of(office, chat, "?order=desc") == ["b", "a"]
    assert await path_of(office, chat, "?branch=all&order=desc") == ["d", "c", "b", "a"]
    lexicon = await office.client.get(
        f"/lexicon/api/v1/chats/{chat['id']}/messages", headers=office.owner.x_api_key
    )
    assert [message["content"] for message in lexicon.json()["messages"]] == ["a", "b"]


async def test_what_is_said_after_going_back_is_a_branch(office: Office) -> None:
    chat = await line(office, "a", "b", "c", "d")
    await office.native("PATCH", f"/chats/{chat['id']}", current_message_id="b")
    (message,) = await say(office, chat, {"id": "c2"})
    assert (message["parent_id"], message["turn_number"]) == ("b", 3)
    assert await path_of(office, chat) == ["a", "b", "c2"]
    await office.native("PATCH", f"/chats/{chat['id']}", current_message_id="d")
    assert await path_of(office, chat) == ["a", "b", "c", "d"]
    assert (await office.read(chat["id"]))["message_count"] == 4


async def test_only_the_path_is_given_to_the_model(office: Office) -> None:
    chat = await line(office, "a", "b", "c", "d")
    await say(office, chat, {"id": "c2", "parent_id": "b", "content": "other question"})
    answer = (await office.ask("POST", f"/chats/{chat['id']}/generate", body={})).json()
    assert answer["question_id"] == "c2"
    assert [turn["content"] for turn in office.upstream.requests[-1]["messages"]] == [
        "a",
        "b",
        "other question",
    ]
    read = await office.read(chat["id"])
    assert [message["id"] for message in read["messages"]] == ["a", "b", "c2", answer["message"]["id"]]


async def test_an_answer_stays_with_its_question_when_the_reader_moves_meanwhile(office: Office) -> None:
    chat = await line(office, "a", "b")
    office.upstream.play(Raw([None, text_event("late"), finish_event(), DONE]))
    asked = office.native("POST", f"/chats/{chat['id']}/generate", message="q")
    task = asyncio.ensure_future(asked)
    await office.upstream.until_requests()
    await office.native("PATCH", f"/chats/{chat['id']}", current_message_id="a")
    office.upstream.go_on()
    answer = (await task)["message"]
    assert answer["parent_id"] == (await task)["question_id"]
    # The conversation stays where the reader went on.
    assert (await office.read(chat["id"]))["current_message_id"] == "a"
    assert await path_of(office, chat) == ["a"]


async def test_in_one_request_messages_may_follow_each_other(office: Office) -> None:
    chat = await line(office, "a")
    written = await say(
        office,
        chat,
        {"id": "x", "parent_id": "a"},
        {"id": "y", "parent_id": "a"},
        {"id": "z", "parent_id": "x"},
    )
    assert [(message["parent_id"], message["turn_number"]) for message in written] == [
        ("a", 2),
        ("a", 2),
        ("x", 3),
    ]
    assert await path_of(office, chat) == ["a", "x", "z"]
    read = await office.read(chat["id"])
    assert [message["children_ids"] for message in read["messages"]] == [["x", "y"], ["z"], []]


async def test_tool_and_system_messages_are_on_the_path_and_not_counted(office: Office) -> None:
    chat = await line(office, "a", "b")
    await say(
        office,
        chat,
        {"id": "t", "role": "tool", "tool_call_id": "call"},
        {"id": "s", "role": "system"},
        {"id": "c"},
    )
    read = await office.read(chat["id"])
    assert [message["turn_number"] for message in read["messages"]] == [1, 2, 2, 2, 3]
    assert read["message_count"] == 3


async def test_a_chat_made_with_branches_is_as_it_was_given(office: Office) -> None:
    messages = [
        {"id": "a", "role": "user", "content": "a"},
        {"id": "b", "role": "assistant", "content": "b"},
        {"id": "b2", "role": "assistant", "content": "b2", "parent_id": "a"},
    ]
    chat = await office.native("POST", "/chats", messages=messages)
    assert chat == await office.read(chat["id"])
    assert [message["id"] for message in chat["messages"]] == ["a", "b2"]
    assert await path_of(office, chat) == ["a", "b2"]


async def test_a_page_goes_on_where_the_last_one_ended_on_any_path(office: Office) -> None:
    chat = await line(office, *"abcdefg")
    await say(office, chat, {"id": "c2", "parent_id": "b"}, {"id": "d2"}, {"id": "e2"})
    for query, wanted in (
        ("?branch=path", ["a", "b", "c2", "d2", "e2"]),
        ("?branch=path&order=desc", ["e2", "d2", "c2", "b", "a"]),
        ("?branch=all", [*"abcdefg", "c2", "d2", "e2"]),
        ("?branch=all&order=desc", ["e2", "d2", "c2", *"gfedcba"]),
    ):
        found: list[str] = []
        cursor = ""
        while True:
            page = await office.native("GET", f"/chats/{chat['id']}/messages{query}&limit=2{cursor}")
            found += [message["id"] for message in page["items"]]
            assert page["has_more"] is (page["next_cursor"] is not None)
            if not page["has_more"]:
                break
            assert len(page["items"]) == 2
            cursor = f"&cursor={page['next_cursor']}"
        assert found == wanted


async def test_a_parent_or_tip_of_another_chat_is_none(office: Office) -> None:
    await line(office, "a", "b")
    other = await line(office, "x")
    for name in ("a", "nope", "not an id"):
        body = {"messages": [{"role": "user", "content": "c", "parent_id": name}]}
        problem = await office.refusal(422, "POST", f"/chats/{other['id']}/messages", body=body)
        assert problem["field"].endswith("parent_id")
        tip = {"current_message_id": name}
        problem = await office.refusal(422, "PATCH", f"/chats/{other['id']}", body=tip)
        assert problem["field"] == "current_message_id"
    assert (await office.read(other["id"])) == other
