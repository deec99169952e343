"""The runner: who listens, what is kept, and that a chat never says "generating" when nobody works on it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import structlog

from chatkeep.domain.errors import AlreadyExists, ChatBusy, ProviderFailed
from chatkeep.domain.ids import ChatId, MessageId, RunId
from chatkeep.domain.message import NewMessage
from chatkeep.domain.usage import Usage
from chatkeep.models.openai_compatible import OpenAiCompatible, Timeouts
from chatkeep.runtime.runner import INTERNAL_ERROR, TIMED_OUT, Runner
from chatkeep.services import chats, runs
from chatkeep.services.context import Claim, Note
from chatkeep.services.generating import Outcome
from chatkeep.services.wishes import Wish
from chatkeep.store import runs as store_runs
from chatkeep.store.driver import Transaction
from chatkeep.store.idempotency import RequestKey
from tests.flows.office import Office
from tests.unit.runtime.following import asked, events_of, journal_of, state, text_of, until_said
from tests.upstream import DONE, Raw, Refusal, Script, finish_event, text_event

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATIENCE_S = 10.0
HELD = Raw([text_event("Wait"), None, text_event(" over"), finish_event(), DONE])


async def test_several_readers_see_the_same_and_a_late_one_all(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(Raw([text_event("a"), text_event("b"), None, text_event("c"), finish_event(), DONE]))
    live = runner.begin(await asked(office))
    early = [asyncio.create_task(text_of(office, live)) for _ in range(3)]
    await until_said(office, live, "ab")
    late = asyncio.create_task(text_of(office, live))
    await asyncio.sleep(0)
    assert not any(task.done() for task in (*early, late))
    office.upstream.go_on()
    assert await asyncio.gather(*early, late) == ["abc"] * 4
    assert await text_of(office, live) == "abc", "also who comes after the end"
    outcome = await live.outcome()
    assert outcome.message is not None
    assert outcome.message.content == "abc"


async def test_what_was_said_is_in_the_chat_before_the_end(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(Raw([text_event("a"), None, text_event("b"), None, finish_event(), DONE]))
    started = await asked(office)
    assert await state(office, started) == ("generating", None, [("Question", "complete")])
    live = runner.begin(started)
    for text in ("a", "ab"):
        await until_said(office, live, text)
        assert await state(office, started) == (
            "generating",
            None,
            [("Question", "complete"), (text, "generating")],
        )
        office.upstream.go_on()
    await live.outcome()
    assert await state(office, started) == (None, None, [("Question", "complete"), ("ab", "complete")])


async def test_reasoning_is_told_before_the_text_and_is_none_of_it(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(Script(["Hi"], reasoning=["hm"], delay_s=0.06))
    started = await asked(office)
    live = runner.begin(started)
    told = [(event.kind, event.text) async for event in events_of(office, live)]
    assert told == [
        ("run.started", None),
        ("run.reasoning", "hm"),
        ("message.created", None),
        ("run.delta", "Hi"),
        ("run.completed", None),
    ]
    outcome = await live.outcome()
    assert outcome.message is not None
    assert outcome.message.content == "Hi"


async def test_the_providers_count_and_the_time_are_kept_with_the_run(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(Script(["Hi"], usage=(7, 5)), HELD)
    whole = runner.begin(await asked(office))
    outcome = await whole.outcome()
    assert outcome.usage == Usage(7, 5)
    broken_off = runner.begin(await asked(office))
    await until_said(office, broken_off, "Wait")
    runner.stop(broken_off.run.id)
    assert (await broken_off.outcome()).usage is None
    kept = [await runs.get(office.context(), each.run.chat_id, each.run.id) for each in (whole, broken_off)]
    assert [(run.state, run.usage) for run in kept] == [("completed", Usage(7, 5)), ("stopped", None)]
    assert all(run.response_time_ms is not None and run.ended_at is not None for run in kept)


async def test_a_reader_that_goes_away_stops_nothing(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    live = runner.begin(started)
    readers: list[asyncio.Task[Any]] = [
        asyncio.create_task(text_of(office, live)),
        asyncio.create_task(live.outcome()),
    ]
    await until_said(office, live, "Wait")
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    assert all(reader.cancelled() for reader in readers)
    assert runner.running_count == 1
    office.upstream.go_on()
    outcome = await live.outcome()
    assert outcome.error is None
    assert await state(office, started) == (None, None, [("Question", "complete"), ("Wait over", "complete")])


async def test_a_run_is_held_while_it_lasts(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    assert not runner.holds(started.run.id)
    live = runner.begin(started)
    assert runner.holds(started.run.id)
    office.upstream.go_on()
    await live.outcome()
    await asyncio.sleep(0)
    assert not runner.holds(started.run.id)
    assert runner.running_count == 0


async def test_a_stop_keeps_what_was_said_and_is_no_error(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    live = runner.begin(started)
    await until_said(office, live, "Wait")
    runner.stop(RunId("somebody else's"))
    runner.stop(started.run.id)
    runner.stop(started.run.id)
    outcome = await asyncio.wait_for(live.outcome(), PATIENCE_S)
    assert (outcome.error, outcome.message and outcome.message.content) == (None, "Wait")
    assert await state(office, started) == (None, None, [("Question", "complete"), ("Wait", "incomplete")])
    assert [event.kind for event in await journal_of(office, started)][-1] == "run.stopped"
    await asyncio.wait_for(office.upstream.until_disconnects(), PATIENCE_S)


async def test_a_stop_before_the_first_step_ends_the_run_too(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    started = await asked(office)
    await runs.stop(office.context(), started.run.chat_id)
    live = runner.begin(started)
    runner.stop(started.run.id)
    outcome = await asyncio.wait_for(live.outcome(), PATIENCE_S)
    assert outcome.error is None
    assert await state(office, started) == (None, None, [("Question", "complete"), ("", "incomplete")])


async def test_a_stop_that_another_process_wrote_down_ends_the_run_with_its_next_word(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(Raw([text_event("Wait"), None, text_event(" over"), None, finish_event(), DONE]))
    started = await asked(office)
    live = runner.begin(started)
    await until_said(office, live, "Wait")
    assert [run.id for run in await runs.stop(office.context(), started.run.chat_id)] == [started.run.id]
    office.upstream.go_on()
    assert (await asyncio.wait_for(live.outcome(), PATIENCE_S)).error is None
    assert await state(office, started) == (
        None,
        None,
        [("Question", "complete"), ("Wait over", "incomplete")],
    )


async def test_who_lost_its_lease_writes_nothing_more(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    live = runner.begin(started)
    await until_said(office, live, "Wait")

    async def take(tx: Transaction) -> int | None:
        return await store_runs.take(tx, started.run, "another", lease_until=2**60)

    assert await office.context().write(take) == 2
    before = await journal_of(office, started)
    office.upstream.go_on()
    with pytest.raises(ProviderFailed, match="interrupted"):
        await asyncio.wait_for(live.outcome(), PATIENCE_S)
    assert await journal_of(office, started) == before
    run = await runs.get(office.context(), started.run.chat_id, started.run.id)
    assert (run.state, run.holder) == ("running", "another")


FAILURES: list[tuple[str, Any, str | None]] = [
    ("no first token", Script(failure="never_answers"), None),
    ("nothing more", Script(["Par", "tial"], failure="silent"), "Partial"),
    ("broke the connection", Script(["Partial"], failure="cut"), "Partial"),
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
    runner = Runner(office.system, wall_s=60)
    hasty = OpenAiCompatible(
        "hasty", office.upstream.base_url, timeouts=Timeouts(first_token_s=0.5, silence_s=0.5)
    )
    office.upstream.play(script)
    started = await asked(office)
    assert started.route is not None
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
    runner = Runner(office.system, wall_s=0.2)
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
    runner = Runner(office.system, wall_s=60)
    started = await asked(office)
    assert started.route is not None
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
    office.upstream.play(Script(["Answer"], usage=(7, 5), cost=0.5))
    started = await runs.start(claimed, ChatId(chat["id"]), said, Wish(settle=settle))
    with structlog.testing.capture_logs() as logged:
        outcome = await asyncio.wait_for(
            Runner(office.system, wall_s=60).begin(started).outcome(), PATIENCE_S
        )
    assert outcome.error == INTERNAL_ERROR
    assert outcome.usage == Usage(7, 5, "0.5"), "what was paid for is known also of an answer that failed"
    assert outcome.message is not None
    assert outcome.message.cost == "0.5"
    kept = await runs.get(ctx, started.run.chat_id, started.run.id)
    assert (kept.state, kept.usage) == ("failed", outcome.usage)
    assert "run's end failed" in [entry["event"] for entry in logged]
    assert await state(office, started) == (
        "error",
        INTERNAL_ERROR,
        [("Question", "complete"), ("Answer", "incomplete")],
    )
    with pytest.raises(Exception) as replayed:  # noqa: PT011 - a Replay is no error of the tree
        await runs.start(claimed, ChatId(chat["id"]), said, Wish(settle=settle))
    assert (replayed.value.status, replayed.value.body) == (502, b"failed")  # type: ignore[attr-defined]


async def test_an_id_that_is_taken_is_refused_before_the_model_is_asked(office: Office) -> None:
    chat = await office.chat("Hi")
    taken = MessageId(chat["messages"][0]["id"])
    with pytest.raises(AlreadyExists):
        await runs.start(office.context(), ChatId(chat["id"]), [], Wish(answer_id=taken))
    assert await office.read(chat["id"]) == chat
    assert office.upstream.requests == []


async def test_a_chat_purged_meanwhile_takes_the_answer_with_it(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    live = runner.begin(started)
    await until_said(office, live, "Wait")
    await chats.purge(office.context(), started.run.chat_id)
    office.upstream.go_on()
    outcome = await live.outcome()
    assert (outcome.message, outcome.error) == (None, None)


async def test_one_run_at_a_time_in_a_chat(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    live = runner.begin(started)
    with pytest.raises(ChatBusy):
        await runs.start(office.context(), started.run.chat_id, [NewMessage("user", "x")], Wish())
    office.upstream.go_on()
    await live.outcome()
    again = await runs.start(office.context(), started.run.chat_id, [NewMessage("user", "x")], Wish())
    assert (await runner.begin(again).outcome()).error is None
