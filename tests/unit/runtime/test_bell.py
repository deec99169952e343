"""The bell: a channel has the latest events in order and without gaps, or says that only the store knows."""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic

import pytest

from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId, OrganisationId
from chatkeep.runtime.bell import RECENT_MAX, Channel, LocalBell

HERE, CHAT = OrganisationId("here"), ChatId("chat")
PATIENCE_S = 5.0


def event(seq: int, chat_id: ChatId = CHAT, organisation_id: OrganisationId = HERE) -> Event:
    return Event(organisation_id, chat_id, seq, 1, "chat.updated")


def channel_of(*seqs: int) -> Channel:
    channel = Channel()
    for seq in seqs:
        channel.add(event(seq))
    return channel


@pytest.mark.parametrize(
    ("seqs", "after", "known"),
    [
        ((), 0, []),
        ((), 7, []),
        ((5, 6, 7), 4, [5, 6, 7]),
        ((5, 6, 7), 5, [6, 7]),
        ((5, 6, 7), 7, []),
        ((5, 6, 7), 9, []),
        ((5, 6, 7), 3, None),
        ((5, 6, 8), 7, [8]),
        ((5, 6, 8), 6, None),
        ((5, 6, 8), 5, None),
        ((5, 6, 8, 9), 8, [9]),
    ],
)
def test_a_channel_knows_what_it_heard_without_a_gap(
    seqs: tuple[int, ...], after: int, known: list[int] | None
) -> None:
    found = channel_of(*seqs).after(after)
    assert (None if found is None else [each.seq for each in found]) == known


def test_a_channel_forgets_the_oldest() -> None:
    channel = channel_of(*range(1, RECENT_MAX + 11))
    assert channel.after(9) is None
    found = channel.after(10)
    assert found is not None
    assert [each.seq for each in found] == list(range(11, RECENT_MAX + 11))


async def test_an_event_wakes_everybody_who_waits() -> None:
    channel = Channel()
    waiting = [asyncio.create_task(channel.wait()) for _ in range(5)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    channel.add(event(1))
    await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_S)
    assert channel._waiting == []


async def test_whoever_is_told_nothing_looks_by_itself_when_its_time_has_come() -> None:
    bell = LocalBell(look_s=0.02)
    with bell.watch(HERE, CHAT) as channel:
        patient = asyncio.ensure_future(channel.wait())
        for _ in range(2):
            await asyncio.wait_for(channel.wait(until_s=monotonic() + 0.01), PATIENCE_S)
        assert not patient.done()
        patient.cancel()
    await asyncio.sleep(0.03)
    assert bell._timer is None, "with nobody there, nothing ticks"


async def test_who_offers_to_take_events_is_not_woken_for_them() -> None:
    channel, taken = channel_of(5), []

    def offer(each: Event) -> bool:
        taken.append(each.seq)
        return each.seq != 8

    task = asyncio.ensure_future(channel.wait(5, offer))
    for seq in (6, 7):
        await asyncio.sleep(0)
        channel.add(event(seq))
    await asyncio.sleep(0)
    assert (taken, task.done()) == ([6, 7], False)
    channel.add(event(8))
    assert await asyncio.wait_for(task, PATIENCE_S) == 7, (
        "the one it did not take is for the store or the channel"
    )
    assert channel.after(7) == [event(8)]
    assert taken == [6, 7, 8]


def takes(taken: list[Event], each: Event) -> bool:
    taken.append(each)
    return True


async def test_an_event_that_does_not_follow_is_not_offered() -> None:
    channel = Channel()
    taken: list[Event] = []
    task = asyncio.ensure_future(channel.wait(5, partial(takes, taken)))
    await asyncio.sleep(0)
    channel.add(event(7))
    assert await asyncio.wait_for(task, PATIENCE_S) == 5
    assert taken == []


async def test_who_is_to_look_is_offered_nothing_until_then() -> None:
    channel = Channel()
    taken: list[Event] = []
    task = asyncio.ensure_future(channel.wait(5, partial(takes, taken)))
    await asyncio.sleep(0)
    channel.wake()
    channel.add(event(6))
    assert await asyncio.wait_for(task, PATIENCE_S) == 5
    assert (taken, channel.after(5)) == ([], [event(6)])


async def test_who_is_cancelled_waits_no_more() -> None:
    channel = Channel()
    task = asyncio.create_task(channel.wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    channel.wake()
    assert channel._waiting == []


async def test_a_bell_rings_for_its_chat_only_and_while_it_is_watched() -> None:
    bell = LocalBell()
    bell.ring([event(1)])
    with bell.watch(HERE, CHAT) as channel, bell.watch(HERE, ChatId("second")) as second:
        assert channel.after(0) == []
        bell.ring([event(2), event(7, ChatId("second")), event(9, CHAT, OrganisationId("elsewhere"))])
        assert channel.after(1) == [event(2)]
        assert second.after(6) == [event(7, ChatId("second"))]
        with bell.watch(HERE, CHAT) as same:
            assert same is channel
        bell.ring([event(3)])
        assert channel.after(1) == [event(2), event(3)], "somebody else has gone, not everybody"
    assert bell._channels == {}


async def test_everybody_can_be_woken() -> None:
    bell = LocalBell()
    with bell.watch(HERE, CHAT) as one, bell.watch(HERE, ChatId("second")) as two:
        waiting = [asyncio.create_task(each.wait()) for each in (one, two)]
        await asyncio.sleep(0)
        bell.wake_all()
        await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_S)
