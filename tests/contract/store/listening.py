"""What every engine promises about events: told after their commit, in the order of commits, and never else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import pytest

from chatkeep.domain.errors import Conflict, InvalidField
from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId
from chatkeep.store.driver import Store, Transaction
from tests.contract.store.place import ACME, OTHER, add_agent, agents, count_agents, found


def event(number: int) -> Event:
    return Event(ACME, ChatId("chat"), number, 1, "chat.updated")


def announcing(*numbers: int, fails: bool = False) -> Callable[[Transaction], Awaitable[None]]:
    """A body that writes an agent for each event."""

    async def body(tx: Transaction) -> None:
        for number in numbers:
            await add_agent(tx, f"a{number:03}")
            tx.announce(event(number))
        if fails:
            raise InvalidField("number", "is bad")

    return body


class Heard:
    """A listener that keeps what it was told, call by call."""

    def __init__(self, store: Store) -> None:
        self.calls: list[list[int]] = []
        store.listen(self)

    def __call__(self, events: Sequence[Event]) -> None:
        self.calls.append([each.seq for each in events])

    @property
    def numbers(self) -> list[int]:
        return [number for call in self.calls for number in call]


class ListenContract:
    """Subclass it in a test module with a fixture `store`."""

    @pytest.fixture
    async def ready(self, store: Store) -> Store:
        await found(store, ACME, OTHER)
        return store

    async def test_events_are_told_before_the_write_returns(self, ready: Store) -> None:
        heard = Heard(ready)
        await ready.write(ACME, announcing(1, 2))
        assert heard.numbers == [1, 2]
        await ready.write(ACME, count_agents)
        assert heard.calls == [[1, 2]], "and a commit without events is not told of"

    async def test_what_is_told_is_committed(self, ready: Store) -> None:
        seen: list[tuple[list[int], asyncio.Task[int]]] = []

        def look(events: Sequence[Event]) -> None:
            seen.append(
                ([each.seq for each in events], asyncio.create_task(_looked(ready)))  # the loop's own reader
            )

        ready.listen(look)
        await asyncio.gather(*(ready.write(ACME, announcing(number)) for number in range(1, 41)))
        total = 0
        for numbers, task in seen:
            total += len(numbers)
            assert await task >= total
        assert total == 40

    async def test_listeners_are_called_on_the_event_loop(self, ready: Store) -> None:
        called: list[tuple[int, asyncio.AbstractEventLoop]] = []
        ready.listen(lambda _: called.append((threading.get_ident(), asyncio.get_running_loop())))
        await ready.write(ACME, announcing(1))
        assert called == [(threading.get_ident(), asyncio.get_running_loop())]

    async def test_all_listeners_hear_the_same(self, ready: Store) -> None:
        first, second = Heard(ready), Heard(ready)
        await asyncio.gather(*(ready.write(ACME, announcing(number)) for number in range(20)))
        assert first.calls == second.calls
        assert sorted(first.numbers) == list(range(20))

    async def test_the_order_is_that_of_the_commits(self, ready: Store) -> None:
        heard = Heard(ready)

        async def body(tx: Transaction, number: int) -> None:
            await add_agent(tx, f"a{number:03}")
            tx.announce(event(await count_agents(tx)))

        chat_id = ChatId("chat")
        await asyncio.gather(
            *(ready.write(ACME, partial(body, number=number), about=chat_id) for number in range(200))
        )
        assert heard.numbers == list(range(1, 201))

    async def test_an_undone_body_is_never_told_of_and_its_neighbours_are(self, ready: Store) -> None:
        heard = Heard(ready)
        writes = [ready.write(ACME, announcing(number, fails=number % 3 == 0)) for number in range(30)]
        await asyncio.gather(*writes, return_exceptions=True)
        good = [number for number in range(30) if number % 3]
        assert sorted(heard.numbers) == good
        assert await ready.read(ACME, agents) == [f"a{number:03}" for number in good]

    async def test_a_body_that_breaks_off_in_a_conflict_is_not_told_of(self, ready: Store) -> None:
        heard = Heard(ready)
        await ready.write(ACME, announcing(1))
        with pytest.raises(Conflict):
            await ready.write(ACME, announcing(2, 1))
        assert heard.numbers == [1]

    async def test_what_only_reads_tells_nothing(self, ready: Store) -> None:
        heard = Heard(ready)

        async def body(tx: Transaction) -> None:
            await count_agents(tx)
            tx.announce(event(1))

        await ready.read(ACME, body)
        await ready.peek(ACME, body)
        await ready.recall(ACME, "key", body)
        await ready.write(ACME, announcing(2))
        assert heard.numbers == [2]

    async def test_work_of_the_system_is_told_of_too(self, ready: Store) -> None:
        heard = Heard(ready)

        async def body(tx: Transaction) -> None:
            await tx.run("system_runs_renew", holder="nobody", ids="[]", lease_until=1)
            tx.announce(event(7))

        await ready.write(None, body)
        assert heard.numbers == [7]

    async def test_who_is_cancelled_is_told_of_exactly_if_committed(self, ready: Store) -> None:
        heard = Heard(ready)
        tasks = [asyncio.create_task(ready.write(ACME, announcing(number))) for number in range(50)]
        for number in range(0, 50, 2):
            await asyncio.sleep(0)
            tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await ready.write(ACME, announcing(999))
        assert [f"a{number:03}" for number in sorted(heard.numbers)] == await ready.read(ACME, agents)


async def _looked(store: Store) -> int:
    return await store.peek(ACME, count_agents)
