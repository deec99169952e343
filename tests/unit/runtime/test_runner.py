"""The runner: who listens, what is kept, and that a chat never says "generating" when nobody works on it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import structlog

from chatkeep.domain.errors import AlreadyExists, ChatBusy, ShuttingDown
from chatkeep.domain.ids import ChatId, MessageId, PrincipalId
from chatkeep.domain.message import NewMessage
from chatkeep.domain.run import INTERRUPTED
from chatkeep.models.openai_compatible import OpenAiCompatible
from chatkeep.models.port import ReasoningDelta, TextDelta
from chatkeep.runtime.runner import INTERNAL_ERROR, TIMED_OUT, LiveRun, Runner
from chatkeep.services import chats, runs
from chatkeep.services.context import Claim, Note
from chatkeep.services.runs import Outcome, StartedRun, Wish
from chatkeep.store.idempotency import RequestKey
from tests.flows.office import Office
from tests.upstream import DONE, Raw, Refusal, Script, finish_event, text_event

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATIENCE_S = 10.0
HELD = Raw([text_event("Wait"), None, text_event(" over"), finish_event(), DONE])


async def asked(office: Office, **wish: Any) -> StartedRun:
    """A committed run of a new chat."""
    chat = await office.chat()
    said = [NewMessage("user", "Question", author_id=PrincipalId(office.owner.principal_id))]
    return await runs.start(office.context(), ChatId(chat["id"]), said, Wish(**wish))


async def texts(live: LiveRun) -> list[str]:
    return [piece.text async for piece in live.pieces()]


async def state(office: Office, started: StartedRun) -> tuple[Any, Any, list[tuple[str, str]]]:
    chat = await office.read(started.run.chat_id)
    said = [(message["content"], message["status"]) for message in chat["messages"]]
    return chat["status"], chat["last_error"], said


async def test_several_readers_see_the_same_pieces_and_a_late_one_all(office: Office) -> None:
    runner = Runner(wall_s=60)
    office.upstream.play(Raw([text_event("a"), text_event("b"), None, text_event("c"), finish_event(), DONE]))
    live = runner.begin(await asked(office))
    early = [asyncio.create_task(texts(live)) for _ in range(3)]
    first = live.pieces()
    assert [(await anext(first)).text, (await anext(first)).text] == ["a", "b"]
    late = asyncio.create_task(texts(live))
    await asyncio.sleep(0)
    assert not any(task.done() for task in (*early, late))
    office.upstream.go_on()
    assert await asyncio.gather(*early, late) == [["a", "b", "c"]] * 4
    assert [piece.text async for piece in first] == ["c"]
    assert await texts(live) == ["a", "b", "c"], "also who comes after the end"
    outcome = await live.outcome()
    assert outcome.message is not None
    assert (outcome.message.content, live.text) == ("abc", "abc")


async def test_reasoning_is_a_piece_and_not_the_text(office: Office) -> None:
    runner = Runner(wall_s=60)
    office.upstream.play(Script(["Hi"], reasoning=["hm"]))
    live = runner.begin(await asked(office))
    assert [piece async for piece in live.pieces()] == [ReasoningDelta("hm"), TextDelta("Hi")]
    assert live.text == "Hi"


async def test_a_reader_that_goes_away_stops_nothing(office: Office) -> None:
    runner = Runner(wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    live = runner.begin(started)
    readers = [asyncio.create_task(texts(live)), asyncio.create_task(live.outcome())]
    assert (await anext(live.pieces())).text == "Wait"
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    assert all(reader.cancelled() for reader in readers)
    assert runner.running_count == 1
    office.upstream.go_on()
    outcome = await live.outcome()
    assert outcome.error is None
    assert await state(office, started) == (None, None, [("Question", "complete"), ("Wait over", "complete")])


async def test_a_run_is_found_by_its_chat_while_it_lasts(office: Office) -> None:
    runner = Runner(wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    place = (started.run.organisation_id, started.run.chat_id)
    assert runner.live_in(*place) is None
    live = runner.begin(started)
    assert runner.live_in(*place) is live
    office.upstream.go_on()
    await live.outcome()
    await asyncio.sleep(0)
    assert runner.live_in(*place) is None
    assert runner.running_count == 0


async def test_draining_keeps_the_text_and_says_interrupted(office: Office) -> None:
    runner = Runner(wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    live = runner.begin(started)
    reader = asyncio.create_task(texts(live))
    await anext(live.pieces())
    await runner.drain(0)
    assert runner.running_count == 0
    assert (await live.outcome()).error == INTERRUPTED
    assert await reader == ["Wait"]
    assert await state(office, started) == (
        "error",
        INTERRUPTED,
        [("Question", "complete"), ("Wait", "incomplete")],
    )
    with pytest.raises(ShuttingDown):
        runner.check_open()


async def test_draining_lets_answers_finish_that_are_quick_enough(office: Office) -> None:
    runner = Runner(wall_s=60)
    runner.check_open()
    office.upstream.play(HELD)
    live = runner.begin(await asked(office))
    await anext(live.pieces())
    draining = asyncio.create_task(runner.drain(PATIENCE_S))
    await asyncio.sleep(0)
    with pytest.raises(ShuttingDown):
        runner.check_open()
    office.upstream.go_on()
    assert (await live.outcome()).error is None
    await draining
    await runner.drain(0)


async def test_draining_twice_at_once_still_ends_every_run(office: Office) -> None:
    runner = Runner(wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    live = runner.begin(started)
    await anext(live.pieces())
    for _ in range(5):
        runner.begin_drain(0)
        await asyncio.sleep(0)
    await asyncio.wait_for(runner.drain(0), PATIENCE_S)
    assert (await asyncio.wait_for(live.outcome(), PATIENCE_S)).error == INTERRUPTED
    assert (await state(office, started))[0] == "error"


FAILURES: list[tuple[str, Any, str | None]] = [
    ("no first token", Script(failure="never_answers"), None),
    ("nothing more", Script(["Par", "tial"], failure="silent"), "Partial"),
    ("broke the connection", Script(["Par", "tial"], failure="cut"), "Partial"),
    ("JSON", Script(["Par", "tial"], failure="garbage"), "Partial"),
    ("fell over", Script(["Par", "tial"], failure="error_chunk"), "Partial"),
    ("", Script(["Par", "tial"], failure="no_finish"), "Partial"),
    ("HTTP 500", Refusal(500, "oops"), None),
    ("HTTP 429", Refusal(429), None),
    ("text/html", Refusal(200, "<html>", "text/html"), None),
]


@pytest.mark.parametrize(("sentence", "script", "kept"), FAILURES, ids=lambda value: str(value)[:40])
async def test_whatever_fails_upstream_the_chat_is_in_error_with_text_and_time(
    office: Office, sentence: str, script: Any, kept: str | None
) -> None:
    runner = Runner(wall_s=60)
    hasty = OpenAiCompatible(
        "hasty", office.upstream.base_url, first_token_timeout_s=0.2, silence_timeout_s=0.2
    )
    office.upstream.play(script)
    started = await asked(office)
    live = runner.begin(replace(started, route=replace(started.route, provider=hasty)))
    outcome = await asyncio.wait_for(live.outcome(), PATIENCE_S)
    await hasty.aclose()
    assert outcome.error is not None
    assert outcome.error.startswith("hasty: ")
    assert sentence in outcome.error
    assert outcome.usage is None
    partial = [] if kept is None else [(kept, "incomplete")]
    assert await state(office, started) == ("error", outcome.error, [("Question", "complete"), *partial])
    assert (await office.read(started.run.chat_id))["last_error_at"] is not None


async def test_an_answer_takes_no_longer_than_the_wall(office: Office) -> None:
    runner = Runner(wall_s=0.2)
    office.upstream.play(Script(["Par", "tial"], failure="silent"))
    started = await asked(office)
    outcome = await asyncio.wait_for(runner.begin(started).outcome(), PATIENCE_S)
    assert outcome.error == TIMED_OUT
    assert await state(office, started) == (
        "error",
        TIMED_OUT,
        [("Question", "complete"), ("Partial", "incomplete")],
    )
    await asyncio.wait_for(office.upstream.until_disconnects(), PATIENCE_S)


async def test_a_bug_in_one_run_is_an_error_of_its_chat(office: Office) -> None:
    runner = Runner(wall_s=60)
    started = await asked(office)
    broken = replace(started, route=replace(started.route, provider=None))  # type: ignore[arg-type]
    with structlog.testing.capture_logs() as logged:
        outcome = await runner.begin(broken).outcome()
    assert outcome.error == INTERNAL_ERROR
    assert [entry["event"] for entry in logged] == ["run failed"]
    assert await state(office, started) == ("error", INTERNAL_ERROR, [("Question", "complete")])


async def test_a_bug_at_the_end_of_a_run_is_an_error_of_its_chat_too(office: Office) -> None:
    """Rendering the answer for an Idempotency-Key is the dialect's code, and runs in the transaction of the end."""
    chat = await office.chat()
    ctx = office.context()
    key = RequestKey(ctx.principal.id, "POST /x", "k")
    claimed = replace(ctx, claim=Claim(key, b"fingerprint", lambda started: Note(started.run.chat_id)))

    def settle(outcome: Outcome) -> tuple[int, bytes]:
        return (200, b"" * (1 // 0)) if outcome.error is None else (502, b"failed")

    said = [NewMessage("user", "Question")]
    started = await runs.start(claimed, ChatId(chat["id"]), said, Wish(), settle=settle)
    with structlog.testing.capture_logs() as logged:
        outcome = await asyncio.wait_for(Runner(wall_s=60).begin(started).outcome(), PATIENCE_S)
    assert outcome.error == INTERNAL_ERROR
    assert "run's end failed" in [entry["event"] for entry in logged]
    assert await state(office, started) == ("error", INTERNAL_ERROR, [("Question", "complete")])
    with pytest.raises(Exception) as replayed:  # noqa: PT011 - a Replay is no error of the tree
        await runs.start(claimed, ChatId(chat["id"]), said, Wish(), settle=settle)
    assert (replayed.value.status, replayed.value.body) == (502, b"failed")  # type: ignore[attr-defined]


async def test_an_id_that_is_taken_is_refused_before_the_model_is_asked(office: Office) -> None:
    chat = await office.chat("Hi")
    taken = MessageId(chat["messages"][0]["id"])
    with pytest.raises(AlreadyExists):
        await runs.start(office.context(), ChatId(chat["id"]), [], Wish(answer_id=taken))
    assert await office.read(chat["id"]) == chat
    assert office.upstream.requests == []


async def test_a_chat_purged_meanwhile_takes_the_answer_with_it(office: Office) -> None:
    runner = Runner(wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    live = runner.begin(started)
    await anext(live.pieces())
    await chats.purge(office.context(), started.run.chat_id)
    office.upstream.go_on()
    outcome = await live.outcome()
    assert (outcome.message, outcome.error) == (None, None)


async def test_one_run_at_a_time_in_a_chat(office: Office) -> None:
    runner = Runner(wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    live = runner.begin(started)
    with pytest.raises(ChatBusy):
        await runs.start(office.context(), started.run.chat_id, [NewMessage("user", "x")], Wish())
    office.upstream.go_on()
    await live.outcome()
    again = await runs.start(office.context(), started.run.chat_id, [NewMessage("user", "x")], Wish())
    assert (await runner.begin(again).outcome()).error is None
