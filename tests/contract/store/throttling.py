"""Sign-ins that fail too often: what counts, for how long, and for all who share the store."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from chatkeep.domain.errors import RateLimited, StoreBusy, WrongPassword
from chatkeep.domain.limits import Limits
from chatkeep.ports import SystemEntropy
from chatkeep.services import throttle
from chatkeep.services.context import Policy, System
from chatkeep.services.keyring import Keyring
from chatkeep.store.driver import Store
from tests.contract.store.place import Place


class StillClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time_us = 1_000_000_000

    def now_us(self) -> int:
        return self.time_us

    def advance(self, seconds: float) -> None:
        self.time_us += round(seconds * 1_000_000)


async def fail(system: System, name: str = "ann", address: str = "1.2.3.4", *, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(WrongPassword):
            async with throttle.attempt(system, name, address):
                raise WrongPassword


async def is_open(system: System, name: str = "ann", address: str = "1.2.3.4") -> bool:
    try:
        async with throttle.attempt(system, name, address):
            return True
    except RateLimited:
        return False


class ThrottleContract:
    """Subclass it in a test module with the fixtures `place` and `store`."""

    @pytest.fixture
    async def still(self) -> StillClock:
        return StillClock()

    @pytest.fixture
    async def system(self, store: Store, still: StillClock, keyring: Keyring) -> System:
        return System(
            store=store,
            clock=still,
            entropy=SystemEntropy(),
            limits=Limits(),
            policy=Policy(),
            keyring=keyring,
            providers={},
            node="node",
            node_name="node",
            started_at=0,
        )

    async def test_five_failures_of_a_name_and_then_no_more(self, system: System) -> None:
        await fail(system, times=4)
        assert await is_open(system)
        await fail(system)
        assert not await is_open(system)
        assert not await is_open(system, address="5.6.7.8")
        assert await is_open(system, name="ben")

    async def test_twenty_failures_of_an_address_and_then_no_more(self, system: System) -> None:
        for number in range(20):
            await fail(system, name=f"name{number}")
        assert not await is_open(system, name="new")
        assert await is_open(system, name="new", address="5.6.7.8")

    async def test_another_node_counts_the_same_failures(self, system: System, place: Place) -> None:
        elsewhere = replace(system, store=place.open())
        await fail(system, times=3)
        await fail(elsewhere, times=2)
        assert not await is_open(system)
        assert not await is_open(elsewhere)

    async def test_what_succeeds_or_breaks_for_another_reason_does_not_count(self, system: System) -> None:
        await fail(system, times=4)
        for _ in range(10):
            assert await is_open(system)
            with pytest.raises(StoreBusy):
                async with throttle.attempt(system, "ann", "1.2.3.4"):
                    raise StoreBusy
        assert await is_open(system)
        await fail(system)
        assert not await is_open(system)

    async def test_the_window_slides(self, system: System, still: StillClock) -> None:
        for _ in range(5):
            await fail(system)
            still.advance(10)
        assert not await is_open(system)
        still.advance(throttle.WINDOW_S - 50.001)
        assert not await is_open(system)
        still.advance(0.001)
        assert await is_open(system)
        await fail(system)
        assert not await is_open(system)
        still.advance(10)
        assert await is_open(system)

    async def test_after_the_seconds_it_tells_it_is_open_and_not_before(
        self, system: System, still: StillClock
    ) -> None:
        await fail(system, times=5)
        still.advance(0.5)
        with pytest.raises(RateLimited) as refused:
            async with throttle.attempt(system, "ann", "1.2.3.4"):
                pass
        assert refused.value.retry_after_s == throttle.WINDOW_S
        still.advance(refused.value.retry_after_s - 1)
        assert not await is_open(system)
        still.advance(1)
        assert await is_open(system)

    async def test_attempts_made_at_once_do_not_slip_through_together(
        self, system: System, place: Place
    ) -> None:
        elsewhere = replace(system, store=place.open())
        async with AsyncExitStack() as under_way:

            async def enter(at: System) -> bool:
                try:
                    await under_way.enter_async_context(throttle.attempt(at, "ann", "1.2.3.4"))
                except RateLimited:
                    return False
                return True

            entered = await asyncio.gather(*[enter(at) for at in (system, elsewhere) for _ in range(15)])
        assert sum(entered) == throttle.PER_NAME
        assert await is_open(system)
