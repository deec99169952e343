"""Waiting for one's turn in a chat: first come, first served, and not for ever."""

from __future__ import annotations

import asyncio

import pytest

from chatkeep.domain.errors import ChatBusy, NotFound
from chatkeep.domain.ids import ChatId
from chatkeep.domain.message import NewMessage
from chatkeep.runtime.turns import Turns
from chatkeep.services import chats
from chatkeep.services.generating import StartedRun
from chatkeep.services.wishes import Wish
from tests.flows.office import Office
from tests.unit.runtime.following import asked
from tests.upstream import DONE, Raw, finish_event, text_event

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATIENCE_S = 10.0
HELD = Raw([text_event("Wait"), None, finish_event(), DONE])


def turns_of(office: Office, wait_s: float = PATIENCE_S) -> Turns:
    return Turns(office.server.house.turns._bell, wait_s=wait_s)


def waiting(office: Office, turns: Turns, chat_id: ChatId, text: str) -> asyncio.Task[StartedRun]:
    said = [NewMessage("user", text)]
    return asyncio.create_task(turns.start(office.context(), chat_id, said, Wish(if_busy="queue")))


async def test_a_free_chat_is_begun_at_once(office: Office) -> None:
    chat = await office.chat()
    turns = turns_of(office, wait_s=0.0)
    started = await turns.start(
        office.context(), ChatId(chat["id"]), [NewMessage("user", "Q")], Wish(if_busy="queue")
    )
    assert started.question is not None
    assert turns._queues == {}


async def test_who_waits_is_served_in_the_order_they_came_also_beside_newcomers(office: Office) -> None:
    runner, turns = office.server.house.runner, turns_of(office)
    office.upstream.play(*[HELD] * 7)
    first = await asked(office)
    live = runner.begin(first)
    queued = [waiting(office, turns, first.run.chat_id, "0"), waiting(office, turns, first.run.chat_id, "1")]
    served: list[str] = []
    for number in range(2, 8):
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in queued)
        office.upstream.go_on()
        await asyncio.wait_for(live.outcome(), PATIENCE_S)
        finished, pending = await asyncio.wait(
            queued, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
        )
        assert len(finished) == 1, "one at a time"
        started = finished.pop().result()
        assert started.question is not None
        served.append(started.question.content)
        live = runner.begin(started)
        queued = [task for task in queued if task in pending]
        if number < 6:  # somebody new comes while others wait
            queued.append(waiting(office, turns, first.run.chat_id, str(number)))
    office.upstream.go_on()
    await live.outcome()
    assert served == ["0", "1", "2", "3", "4", "5"]
    assert turns._queues == {}


async def test_nobody_waits_for_ever(office: Office) -> None:
    first = await asked(office)  # nobody works on it
    turns = turns_of(office, wait_s=0.05)
    tasks = [waiting(office, turns, first.run.chat_id, str(number)) for number in range(3)]
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE_S)
    assert [type(result) for result in results] == [ChatBusy] * 3
    assert turns._queues == {}
    assert len((await office.read(first.run.chat_id))["messages"]) == 1


async def test_who_goes_away_leaves_the_queue(office: Office) -> None:
    runner, turns = office.server.house.runner, turns_of(office)
    office.upstream.play(HELD)
    first = await asked(office)
    live = runner.begin(first)
    gone, stays = [waiting(office, turns, first.run.chat_id, text) for text in ("gone", "stays")]
    await asyncio.sleep(0.01)
    gone.cancel()
    await asyncio.wait({gone})
    office.upstream.go_on()
    await live.outcome()
    started = await asyncio.wait_for(stays, PATIENCE_S)
    assert started.question is not None
    assert started.question.content == "stays"
    assert turns._queues == {}


async def test_what_is_refused_is_refused_at_once(office: Office) -> None:
    chat, turns = await office.chat(), turns_of(office)
    await chats.delete(office.context(), ChatId(chat["id"]))
    with pytest.raises(NotFound):
        await waiting(office, turns, ChatId(chat["id"]), "Q")
    assert turns._queues == {}
