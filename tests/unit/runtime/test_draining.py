"""The end of a process: answers get a little time, then they are given back with all they said, for another to go on."""

from __future__ import annotations

import asyncio

import pytest

from chatkeep.domain.errors import ShuttingDown
from chatkeep.runtime.runner import Runner
from chatkeep.services import leases, runs
from tests.flows.office import Office
from tests.unit.runtime.following import asked, journal_of, state, text_of, until_said
from tests.upstream import DONE, Raw, Script, finish_event, text_event

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATIENCE_S = 10.0
HELD = Raw([text_event("Wait"), None, text_event(" over"), finish_event(), DONE])


async def test_draining_hands_over_with_all_that_was_said(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    live = runner.begin(started)
    reader = asyncio.create_task(text_of(office, live))
    await until_said(office, live, "Wait")
    await runner.drain(0)
    assert runner.running_count == 0
    with pytest.raises(ShuttingDown):
        await live.outcome()
    assert isinstance(live.failure, ShuttingDown)
    assert await reader == "Wait"
    run = await runs.get(office.context(), started.run.chat_id, started.run.id)
    assert (run.state, run.holder) == ("running", None)
    with pytest.raises(ShuttingDown):
        runner.check_open()
    assert await state(office, started) == (
        "generating",
        None,
        [("Question", "complete"), ("Wait", "generating")],
    ), "and reading it does not declare it dead"


async def test_what_was_handed_over_is_gone_on_with_where_it_stopped(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(HELD, Script([" for", " it"]))
    started = await asked(office)
    live = runner.begin(started)
    await until_said(office, live, "Wait")
    await runner.drain(0)
    taken = await leases.take_over(office.system, started.run.organisation_id, started.run.id)
    assert taken is not None
    assert (taken.run.epoch, taken.is_begun) == (2, True)
    assert await leases.take_over(office.system, started.run.organisation_id, started.run.id) is None
    outcome = await Runner(office.system, wall_s=60).begin(taken).outcome()
    assert outcome.message is not None
    assert outcome.message.content == "Wait for it"
    assert office.upstream.requests[-1]["messages"][-1] == {"role": "assistant", "content": "Wait"}
    told = await journal_of(office, started)
    assert "".join(event.text for event in told if event.text) == "Wait for it"
    assert [event.kind for event in told if event.kind != "run.delta"][-2:] == [
        "run.resumed",
        "run.completed",
    ]


async def test_what_said_nothing_yet_is_handed_over_too(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(Script(["late"], first_delay_s=PATIENCE_S), Script(["again"]))
    started = await asked(office)
    runner.begin(started)
    await office.upstream.until_requests()
    await runner.drain(0)
    taken = await leases.take_over(office.system, started.run.organisation_id, started.run.id)
    assert taken is not None
    assert not taken.is_begun
    await Runner(office.system, wall_s=60).begin(taken).outcome()
    assert await state(office, started) == (None, None, [("Question", "complete"), ("again", "complete")])


async def test_draining_lets_answers_finish_that_are_quick_enough(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    runner.check_open()
    office.upstream.play(HELD)
    live = runner.begin(await asked(office))
    await until_said(office, live, "Wait")
    draining = asyncio.create_task(runner.drain(PATIENCE_S))
    await asyncio.sleep(0)
    with pytest.raises(ShuttingDown):
        runner.check_open()
    office.upstream.go_on()
    assert (await live.outcome()).error is None
    await draining
    await runner.drain(0)


async def test_draining_twice_at_once_still_gives_every_run_back(office: Office) -> None:
    runner = Runner(office.system, wall_s=60)
    office.upstream.play(HELD)
    started = await asked(office)
    live = runner.begin(started)
    await until_said(office, live, "Wait")
    for _ in range(5):
        runner.begin_drain(0)
        await asyncio.sleep(0)
    await asyncio.wait_for(runner.drain(0), PATIENCE_S)
    with pytest.raises(ShuttingDown):
        await asyncio.wait_for(live.outcome(), PATIENCE_S)
    run = await runs.get(office.context(), started.run.chat_id, started.run.id)
    assert (run.state, run.holder) == ("running", None)
