"""The journal seen from the API: following, stopping, answering again, going on; answers that survive."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.flows.office import Office
from tests.upstream import DONE, Raw, Script, finish_event, text_event
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
HELD = Raw([text_event("Wait"), None, text_event(" over"), finish_event(), DONE])


async def journal(office: Office | World, chat_id: str, after: int = 0) -> list[dict[str, Any]]:
    """All events after `after` by asking again and again."""
    found: list[dict[str, Any]] = []
    while items := (await office.native("GET", f"/chats/{chat_id}/events?after={after}&wait_s=0"))["items"]:
        found += items
        after = items[-1]["seq"]
    return found


async def test_what_happens_in_a_chat_is_its_journal_from_1_without_gaps(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(Script(["Hel", "lo"], reasoning=["hm"]))
    answer = await office.native("POST", f"/chats/{chat['id']}/generate", message="Hi")
    await office.native("PATCH", f"/chats/{chat['id']}", title="Other", tags=["a"])
    events = await journal(office, chat["id"])
    assert [each["seq"] for each in events] == list(range(1, len(events) + 1))
    kinds = [each["type"] for each in events]
    assert kinds[:3] == ["chat.created", "message.created", "run.started"]
    assert kinds[-2:] == ["run.completed", "chat.updated"]
    assert "".join(each["text"] for each in events if each["type"] == "run.delta") == "Hello"
    assert "".join(each["text"] for each in events if each["type"] == "run.reasoning") == "hm"
    begun = next(each for each in events if each["type"] == "message.created" and each["run_id"])
    assert (begun["message"]["content"], begun["message"]["status"]) == ("", "generating")
    assert events[-2]["message"] == answer["message"]
    assert events[-2]["usage"] == answer["usage"]
    assert events[-1]["chat"]["title"] == "Other"
    assert events[-1]["chat"]["tags"] == ["a"]
    read = await office.read(chat["id"])
    assert read["version"] == len(events)


async def test_a_late_reader_gets_a_snapshot_with_the_text_so_far_and_then_the_rest(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(HELD)
    task = asyncio.ensure_future(office.native("POST", f"/chats/{chat['id']}/generate", message="Hi"))
    await office.until_said(chat["id"])
    (snapshot,) = (await office.native("GET", f"/chats/{chat['id']}/events?wait_s=0"))["items"]
    assert snapshot["type"] == "snapshot"
    assert snapshot["chat"]["status"] == "generating"
    last = snapshot["messages"][-1]
    assert (last["content"], last["status"]) == ("Wait", "generating")
    assert [run["answer_id"] for run in snapshot["runs"]] == [last["id"]]
    read = await office.read(chat["id"])
    assert read["messages"][-1]["content"] == "Wait"
    office.upstream.go_on()
    await task
    rest = await journal(office, chat["id"], snapshot["seq"])
    assert "".join(each.get("text", "") for each in rest) == " over"
    assert (await office.read(chat["id"]))["messages"][-1]["content"] == "Wait over"


async def test_stop_from_another_connection_keeps_the_text(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(HELD)
    task = asyncio.ensure_future(office.native("POST", f"/chats/{chat['id']}/generate", message="Hi"))
    await office.until_said(chat["id"])
    (asked,) = (await office.native("POST", f"/chats/{chat['id']}/stop", run_id=None))["items"]
    answer = await task
    assert (answer["message"]["content"], answer["message"]["status"]) == ("Wait", "incomplete")
    run = await office.native("GET", f"/chats/{chat['id']}/runs/{asked['id']}")
    assert (run["state"], run["error"]) == ("stopped", None)
    read = await office.read(chat["id"])
    assert (read["status"], read["last_error"]) == (None, None)
    events = await journal(office, chat["id"])
    assert [each["type"] for each in events if each.get("run_id") == asked["id"]][-1] == "run.stopped"
    assert (await office.native("POST", f"/chats/{chat['id']}/stop", run_id=None))["items"] == []


async def test_stop_before_the_first_word(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(Raw([None, text_event("late"), finish_event(), DONE]))
    task = asyncio.ensure_future(office.native("POST", f"/chats/{chat['id']}/generate", message="Hi"))
    await office.upstream.until_requests()
    await office.native("POST", f"/chats/{chat['id']}/stop", run_id=None)
    assert (await task)["message"]["content"] == ""
    assert (await office.read(chat["id"]))["status"] is None


async def test_regenerate_is_a_branch_beside_the_answer(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(Script(["one"]))
    first = await office.native("POST", f"/chats/{chat['id']}/generate", message="Hi")
    office.upstream.play(Script(["two"]))
    second = await office.native("POST", f"/chats/{chat['id']}/regenerate", message_id=None)
    assert second["message"]["parent_id"] == first["message"]["parent_id"]
    read = await office.read(chat["id"])
    assert [each["content"] for each in read["messages"]] == ["Hi", "two"]
    everything = await office.native("GET", f"/chats/{chat['id']}/messages?branch=all")
    assert [each["content"] for each in everything["items"]] == ["Hi", "one", "two"]


async def test_edit_is_a_branch_beside_the_question(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(Script(["one"]))
    await office.native("POST", f"/chats/{chat['id']}/generate", message="Hi")
    question = (await office.read(chat["id"]))["messages"][0]
    office.upstream.play(Script(["two"]))
    path = f"/chats/{chat['id']}/messages/{question['id']}/edit"
    await office.native("POST", path, content="Hello instead")
    assert [turn["content"] for turn in office.upstream.requests[-1]["messages"]] == ["Hello instead"]
    read = await office.read(chat["id"])
    assert [each["content"] for each in read["messages"]] == ["Hello instead", "two"]


async def test_continue_makes_the_answer_longer(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(Script(["Once upon"]))
    first = await office.native("POST", f"/chats/{chat['id']}/generate", message="A tale", max_tokens=2)
    before = await journal(office, chat["id"])
    office.upstream.play(Script([" a ", "time"]))
    second = await office.native("POST", f"/chats/{chat['id']}/continue", message_id=None)
    assert second["message"]["id"] == first["message"]["id"]
    assert (second["message"]["content"], second["message"]["status"]) == ("Once upon a time", "complete")
    assert [turn["content"] for turn in office.upstream.requests[-1]["messages"]] == ["A tale", "Once upon"]
    assert [each["content"] for each in (await office.read(chat["id"]))["messages"]] == [
        "A tale",
        "Once upon a time",
    ]
    after = await journal(office, chat["id"])
    assert after[: len(before)] == before, "what was told stays as it was"
    assert [each["message"]["content"] for each in after if each["type"] == "run.completed"] == [
        "Once upon",
        "Once upon a time",
    ]


async def test_a_second_message_waits_its_turn(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(HELD)
    office.upstream.play(Script(["second"]))
    path = f"/chats/{chat['id']}/generate"
    first = asyncio.ensure_future(office.native("POST", path, message="one"))
    await office.until_said(chat["id"])
    refused = await office.ask("POST", path, body={"message": "two"})
    assert (refused.status_code, refused.json()["code"]) == (409, "chat_busy")
    second = asyncio.ensure_future(office.native("POST", path, message="two", if_busy="queue"))
    await asyncio.sleep(0.05)
    assert not second.done()
    office.upstream.go_on()
    await first
    await second
    read = await office.read(chat["id"])
    assert [each["content"] for each in read["messages"]] == ["one", "Wait over", "two", "second"]


async def test_a_second_message_may_be_a_branch(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(HELD)
    office.upstream.play(Script(["second"]))
    path = f"/chats/{chat['id']}/generate"
    first = asyncio.ensure_future(office.native("POST", path, message="one"))
    await office.until_said(chat["id"])
    await office.native("POST", path, message="two", if_busy="branch")
    assert (await office.read(chat["id"]))["status"] == "generating"
    office.upstream.go_on()
    await first
    read = await office.read(chat["id"])
    assert read["status"] is None
    assert [each["content"] for each in read["messages"]] == ["two", "second"]
