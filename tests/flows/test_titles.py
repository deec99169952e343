"""Titles made by the chat's model: after the first answer, beside it, and never over somebody's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.flows.test_journal import journal
from tests.journal_reader import Reader
from tests.upstream import DONE, Raw, Refusal, Script, ScriptedUpstream, finish_event, text_event
from tests.world import FakeClock, World, open_world

QUESTION = "Which river flows through Paris?"
HELD = Raw([None, text_event("Rivers of Paris"), finish_event(), DONE])
TITLE = Script(["Rivers of", " Paris"], usage=(30, 4))


@asynccontextmanager
async def titling(folder: Path, **settings: Any) -> AsyncIterator[World]:
    """A server whose chats are given titles by their models."""
    async with (
        ScriptedUpstream() as upstream,
        open_world(folder / "data", FakeClock(), upstream, titles="model", **settings) as world,
    ):
        yield world


@pytest.fixture
async def titled(tmp_path: Path) -> AsyncIterator[World]:
    async with titling(tmp_path) as world:
        yield world


async def ask(world: World, chat_id: str, message: str = QUESTION) -> Any:
    """A question, and its answer."""
    return await world.native("POST", f"/chats/{chat_id}/generate", message=message)


async def title_of(world: World, chat_id: str = "c") -> str:
    """The chat's title, once nobody works on one."""
    titles = world.server.house.runner._titles
    assert titles is not None
    while titles._tasks:
        await asyncio.wait(list(titles._tasks))
    title: str = (await world.native("GET", f"/chats/{chat_id}"))["title"]
    return title


async def test_the_first_answer_brings_a_title_of_the_model(titled: World) -> None:
    chat = await titled.native("POST", "/chats", id="c", system_prompt="Be brief.")
    titled.upstream.play(Script(["The Seine."]), Script(['"Rivers of', ' Paris."\n']), Script(["The Tiber."]))
    answer = await ask(titled, "c")
    assert await title_of(titled) == "Rivers of Paris"
    asked = titled.upstream.requests[-1]
    assert (asked["max_tokens"], len(asked["messages"])) == (24, 1)
    assert all(text in asked["messages"][0]["content"] for text in (QUESTION, "The Seine.", "six words"))
    told = await journal(titled, "c")
    assert (told[-1]["type"], told[-1]["chat"]) == ("chat.titled", {"title": "Rivers of Paris"})
    assert told[-2]["message"] == answer["message"]
    reader = Reader("c")
    for each in told:
        reader.take(each)
    fresh = await titled.native("GET", "/chats/c")
    assert fresh["version"] == told[-1]["seq"] > chat["version"]
    assert reader.copy.differs_from(fresh, fresh["messages"]) == {}
    await ask(titled, "c", "And through Rome?")
    assert await title_of(titled) == "Rivers of Paris"
    assert len(titled.upstream.requests) == 3, "and it is asked for once"


async def test_the_answer_does_not_wait_for_it(titled: World) -> None:
    await titled.native("POST", "/chats", id="c")
    titled.upstream.play(Script(["The Seine."]), HELD)
    assert (await ask(titled, "c"))["message"]["content"] == "The Seine."
    await titled.upstream.until_requests(2)
    read = await titled.native("GET", "/chats/c")
    assert (read["title"], read["status"]) == (QUESTION, None)
    assert (await ask(titled, "c", "And through Rome?"))["message"]["status"] == "complete"
    titled.upstream.go_on()
    assert await title_of(titled) == "Rivers of Paris"


@pytest.mark.parametrize("given", ["Mine", QUESTION])
async def test_a_title_that_was_given_stays(titled: World, given: str) -> None:
    await titled.native("POST", "/chats", id="c", title=given)
    await ask(titled, "c")
    assert await title_of(titled) == given
    assert len(titled.upstream.requests) == 1


async def test_a_title_that_was_changed_meanwhile_stays(titled: World) -> None:
    await titled.native("POST", "/chats", id="c")
    titled.upstream.play(Script(["The Seine."]), HELD)
    await ask(titled, "c")
    await titled.upstream.until_requests(2)
    await titled.native("PATCH", "/chats/c", title="Mine")
    titled.upstream.go_on()
    assert await title_of(titled) == "Mine"
    assert (await journal(titled, "c"))[-1]["type"] == "chat.updated"


async def test_a_chat_that_was_deleted_meanwhile_gets_none(titled: World) -> None:
    await titled.native("POST", "/chats", id="c")
    titled.upstream.play(Script(["The Seine."]), HELD)
    await ask(titled, "c")
    await titled.upstream.until_requests(2)
    await titled.native("DELETE", "/chats/c")
    titled.upstream.go_on()
    await asyncio.wait(list(titled.server.house.runner._titles._tasks))  # type: ignore[union-attr]  # it has some
    await titled.native("POST", "/chats/c/restore")
    assert await title_of(titled) == QUESTION


@pytest.mark.parametrize(
    "trouble",
    [Refusal(500), Script([""]), Script(["<think>Hm"]), Script(["Riv"], failure="cut"), Script([QUESTION])],
    ids=["refusal", "nothing", "a thought", "a break", "the same"],
)
async def test_without_a_title_everything_stays_and_nobody_asks_again(titled: World, trouble: Any) -> None:
    await titled.native("POST", "/chats", id="c")
    titled.upstream.play(Script(["The Seine."]), trouble)
    await ask(titled, "c")
    assert await title_of(titled) == QUESTION
    read = await titled.native("GET", "/chats/c")
    assert (read["status"], read["last_error"]) == (None, None)
    assert (await journal(titled, "c"))[-1]["type"] == "run.completed"
    await ask(titled, "c", "And through Rome?")
    assert await title_of(titled) == QUESTION
    assert len(titled.upstream.requests) == 3


async def test_a_failed_or_stopped_answer_brings_none(titled: World) -> None:
    await titled.native("POST", "/chats", id="c")
    titled.upstream.play(Raw([text_event("The"), None]), Script(["The Seine."]), TITLE)
    asking = asyncio.create_task(ask(titled, "c"))
    await titled.until_said("c")
    await titled.native("POST", "/chats/c/stop", run_id=None)
    await asking
    assert (await title_of(titled), len(titled.upstream.requests)) == (QUESTION, 1)
    await ask(titled, "c", "Again, please")
    assert await title_of(titled) == "Rivers of Paris"


async def test_a_title_ends_with_the_server(titled: World) -> None:
    await titled.native("POST", "/chats", id="c")
    titled.upstream.play(Script(["The Seine."]), HELD)
    await ask(titled, "c")
    await titled.upstream.until_requests(2)
    await titled.server.house.runner.drain(60)
    await titled.upstream.until_disconnects()
    assert await title_of(titled) == QUESTION


async def test_its_tokens_are_the_tenants(tmp_path: Path) -> None:
    async with titling(tmp_path, tokens_per_organisation_max=400) as world:
        answer = Script(["The Seine."], usage=(10, 10))
        world.upstream.play(answer, Script(["Rivers of Paris"], usage=(200, 100)), answer)
        for chat_id in ("c", "d"):
            await world.native("POST", "/chats", id=chat_id)
        body: dict[str, Any] = {"message": QUESTION, "max_tokens": 50}
        await world.native("POST", "/chats/c/generate", **body)
        assert await title_of(world) == "Rivers of Paris"
        await world.native("POST", "/chats/d/generate", **body)
        assert await title_of(world, "d") == QUESTION, "340 are used, and a title may need more than 60"
        assert len(world.upstream.requests) == 3


async def test_it_takes_no_place_that_an_answer_needs(tmp_path: Path) -> None:
    async with titling(tmp_path, runs_per_organisation_max=1) as world:
        for chat_id in ("c", "d"):
            await world.native("POST", "/chats", id=chat_id)
        world.upstream.play(Script(["The Seine."]), HELD, Script(["The Seine."]))
        await ask(world, "c")
        await world.upstream.until_requests(2)
        await ask(world, "d")
        assert (await world.native("GET", "/chats/d"))["title"] == QUESTION
        world.upstream.go_on()
        assert (await title_of(world), await title_of(world, "d")) == ("Rivers of Paris", QUESTION)
        assert len(world.upstream.requests) == 3


async def test_chats_of_other_dialects_get_theirs_too(titled: World) -> None:
    titled.upstream.play(Script(["The Seine."]), TITLE)
    body = {"messages": [{"role": "user", "content": QUESTION}]}
    response = await titled.client.post("/cuadra/v1/chats", headers=titled.owner.bearer, json=body)
    chat_id = response.json()["id"]
    assert await title_of(titled, chat_id) == "Rivers of Paris"
    read = await titled.client.get(f"/cuadra/v1/chats/{chat_id}", headers=titled.owner.bearer)
    assert read.json()["title"] == "Rivers of Paris"


async def test_by_default_no_model_is_asked(world: World) -> None:
    await world.native("POST", "/chats", id="c")
    await ask(world, "c")
    assert len(world.upstream.requests) == 1
    assert (await world.native("GET", "/chats/c"))["title"] == QUESTION
