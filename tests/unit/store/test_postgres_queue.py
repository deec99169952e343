"""Which writes a lane takes: whole chats that no other lane is at, and its share of them."""

from __future__ import annotations

import asyncio
from typing import Any

from chatkeep.domain.ids import ChatId, OrganisationId
from chatkeep.store.driver import Transaction
from chatkeep.store.postgres_queue import GROUP_MAX, Job, Queue

ACME = OrganisationId("acme")


async def nothing(tx: Transaction) -> None:
    """A body."""


def job(name: str) -> Job:
    """One about the chat of its first letter; about none for `-`."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    made = Job(ACME, None if name[0] == "-" else ChatId(name[0]), nothing, future)
    made.result = name
    return made


def queue_of(names: str, lanes: int) -> Queue:
    queue = Queue(lanes)
    for name in names.split():
        queue.add(job(name))
    return queue


def names_of(group: list[Job]) -> str:
    return " ".join(each.result for each in group)


async def test_each_lane_takes_its_share_of_whole_chats() -> None:
    queue = queue_of("a1 b1 c1 d1 a2 b2 c2 d2", lanes=2)
    assert names_of(await queue.take()) == "a1 a2 b1 b2"
    assert names_of(await queue.take()) == "c1 c2", "half of what was left"
    assert names_of(await queue.take()) == "d1 d2"
    assert queue.waiting == 0


async def test_what_is_about_a_chat_waits_for_the_lane_that_is_at_it() -> None:
    queue = queue_of("a1", lanes=2)
    first = await queue.take()
    other = asyncio.create_task(queue.take())
    queue.add(job("a2"))
    await asyncio.sleep(0)
    assert not other.done()
    queue.done(first)
    assert names_of(await other) == "a2"


async def test_what_is_about_no_chat_waits_for_nobody() -> None:
    queue = queue_of("-1", lanes=2)
    assert names_of(await queue.take()) == "-1"
    queue.add(job("-2"))
    assert names_of(await queue.take()) == "-2"


async def test_a_chat_with_more_than_a_group_goes_on_in_its_order() -> None:
    queue = queue_of(" ".join(f"a{number}" for number in range(GROUP_MAX + 2)), lanes=1)
    first = await queue.take()
    assert names_of(first) == " ".join(f"a{number}" for number in range(GROUP_MAX))
    queue.add(job("b"))
    queue.add(job("a-last"))
    queue.done(first)
    assert names_of(await queue.take()) == f"b a{GROUP_MAX} a{GROUP_MAX + 1} a-last"


async def test_a_lane_that_is_idle_takes_what_comes_and_an_other_the_rest() -> None:
    queue = Queue(2)
    lanes = [asyncio.create_task(queue.take()) for _ in range(2)]
    await asyncio.sleep(0)
    for name in ("a1", "b1"):
        queue.add(job(name))
    async with asyncio.timeout(1):
        assert sorted([names_of(await lane) for lane in lanes]) == ["a1", "b1"]


async def test_lanes_end_once_it_is_closed_and_all_is_done() -> None:
    queue = queue_of("a1 b1", lanes=2)
    first = await queue.take()
    queue.add(job("a2"))
    queue.close()
    assert names_of(await queue.take()) == "b1"
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    assert not waiting.done(), "what came for a lane's chat is to be done yet"
    queue.done(first)
    assert names_of(await waiting) == "a2"


async def test_nobody_waits_at_a_closed_and_empty_queue() -> None:
    queue = Queue(2)
    lanes = [asyncio.create_task(queue.take()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.close()
    async with asyncio.timeout(1):
        assert [await lane for lane in lanes] == [[], []]
