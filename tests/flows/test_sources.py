"""Pages that an answer rests on: named once each, with the message and in the journal, however the answer ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chatkeep.models.port import SOURCES_MAX
from chatkeep.runtime.sweeper import sweep
from tests.crash.journal_judge import examine_journals
from tests.flows.office import Office, events, idle
from tests.flows.test_journal import journal
from tests.journal_reader import Reader
from tests.upstream import DONE, Raw, Script, ScriptedUpstream, event, finish_event, source_event, text_event
from tests.world import NATIVE, FakeClock, open_world

A, B, C = (f"https://example.org/{page}" for page in "abc")
ONE, TWO, THREE = ({"url": url, "title": None, "text": None} for url in (A, B, C))
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_each_page_is_told_once_with_what_is_known_of_it(office: Office) -> None:
    chat = await office.chat()
    said = [text_event("x"), source_event(A), source_event(B, "B"), text_event("y"), source_event(A, "A")]
    office.upstream.play(Raw([*said, source_event("javascript:alert(1)"), finish_event(), DONE]))
    body = {"message": "Hi", "stream": True}
    response = await office.ask("POST", f"/chats/{chat['id']}/generate", body=body)
    pages = [{"url": A, "title": "A", "text": None}, {"url": B, "title": "B", "text": None}]
    found = events(response.text)
    assert [value for name, value in found if name == "source"] == pages
    assert found[-1][1]["message"]["sources"] == pages
    assert (await office.read(chat["id"]))["messages"][-1]["sources"] == pages
    told = await journal(office, chat["id"])
    assert [each["source"] for each in told if each["type"] == "run.source"] == pages
    assert [each["type"] for each in told[-3:]] == ["run.source", "run.source", "run.completed"]
    assert told[-1]["message"]["sources"] == pages
    begun = next(each for each in told if each["type"] == "message.created" and each["run_id"])
    assert begun["message"]["sources"] is None, "what was told stays as it was"


async def test_perplexitys_lists_are_sources_too(office: Office) -> None:
    chat = await office.chat()
    lists = {"citations": [A, B], "search_results": [{"url": A, "title": "A", "snippet": "of a"}]}
    said = {"choices": [{"index": 0, "delta": {"content": "x"}}], **lists}
    office.upstream.play(Raw([event(said), event(said), finish_event(), DONE]))
    answer = await office.native("POST", f"/chats/{chat['id']}/generate", message="Hi")
    assert answer["message"]["sources"] == [{"url": A, "title": "A", "text": "of a"}, TWO]


@pytest.mark.parametrize("failure", ["cut", "error_chunk"])
async def test_an_answer_that_broke_off_keeps_what_it_named(office: Office, failure: Any) -> None:
    chat = await office.chat()
    office.upstream.play(Script(["x"], sources=[A], failure=failure))
    await office.refusal(502, "POST", f"/chats/{chat['id']}/generate", body={"message": "Hi"})
    read = await office.settled(chat["id"])
    assert (read["messages"][-1]["status"], read["messages"][-1]["sources"]) == ("incomplete", [ONE])
    assert [each["type"] for each in await journal(office, chat["id"])][-2:] == ["run.source", "run.failed"]


async def test_a_failure_without_a_word_tells_of_no_pages(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(Raw([source_event(A), event({"error": "broken"})]))
    await office.refusal(502, "POST", f"/chats/{chat['id']}/generate", body={"message": "Hi"})
    assert "run.source" not in {each["type"] for each in await journal(office, chat["id"])}


async def test_an_answer_that_goes_on_has_them_all_once_and_not_too_many(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(Script(["x"], sources=[A, B]), Script(["y"], sources=[B, C]))
    await office.native("POST", f"/chats/{chat['id']}/generate", message="Hi")
    before = await journal(office, chat["id"])
    answer = await office.native("POST", f"/chats/{chat['id']}/continue", message_id=None)
    assert answer["message"]["sources"] == [ONE, TWO, THREE]
    after = await journal(office, chat["id"])
    assert after[: len(before)] == before, "what was told stays as it was"
    assert [each["source"] for each in after if each["type"] == "run.source"] == [ONE, TWO, THREE]
    office.upstream.play(Script(["z"], sources=[f"{A}{number}" for number in range(SOURCES_MAX)]))
    answer = await office.native("POST", f"/chats/{chat['id']}/continue", message_id=None)
    assert len(answer["message"]["sources"]) == SOURCES_MAX
    assert (await office.native("POST", f"/chats/{chat['id']}/generate", message="Hi"))["message"][
        "sources"
    ] is None


@pytest.mark.sqlite
async def test_what_was_named_before_a_restart_is_kept_and_told(tmp_path: Path) -> None:
    """At every version the journal and the messages agree, also between two servers; and the tools go along."""
    clock, data = FakeClock(), tmp_path / "data"
    tool = {"type": "function", "function": {"name": "weather"}}
    async with ScriptedUpstream() as upstream:
        upstream.play(Raw([source_event(A), text_event("Wait"), None]))
        upstream.play(Script([" over"], sources=[A, B], calls=[("c", "weather", "{}")]))
        async with open_world(data, clock, upstream) as world:
            chat = await world.native("POST", "/chats", title="T")
            path, body = f"{NATIVE}/chats/{chat['id']}/generate", {"message": "Q", "tools": [tool]}
            asked = asyncio.ensure_future(world.client.post(path, headers=world.owner.bearer, json=body))
            await world.until_said(chat["id"])
            await world.server.house.runner.drain(0)
            assert (await asked).status_code == 503
            reader = Reader(chat["id"])
            for each in await journal(world, chat["id"]):
                reader.take(each)
            fresh = await world.native("GET", f"/chats/{chat['id']}")
            assert fresh["messages"][-1]["sources"] == [ONE]
            assert reader.copy.differs_from(fresh, fresh["messages"]) == {}
        async with open_world(data, clock, upstream) as world:
            await idle(world)
            assert [each["tools"] for each in upstream.requests] == [[tool], [tool]]
            for each in await journal(world, chat["id"], reader.after or 0):
                reader.take(each)
            fresh = await world.native("GET", f"/chats/{chat['id']}")
            last = fresh["messages"][-1]
            assert (last["content"], last["sources"]) == ("Wait over", [ONE, TWO])
            assert [call["id"] for call in last["tool_calls"]] == ["c"]
            assert (reader.copy.differs_from(fresh, fresh["messages"]), reader.breaches) == ({}, [])
            clock.advance(3601)
            await sweep(world.system)
            (snapshot,) = (await world.native("GET", f"/chats/{chat['id']}/events?after=1&wait_s=0"))["items"]
            assert snapshot["messages"][-1] == {
                key: value for key, value in last.items() if key != "children_ids"
            }
    assert examine_journals(data / "chatkeep.db") == []
