"""Requests of a tenant in a minute: beside a count by hand, in one process and at several nodes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from hypothesis import example, given
from hypothesis import strategies as st

from chatkeep.domain.errors import StoreLost
from chatkeep.domain.ids import OrganisationId
from chatkeep.domain.text import US
from chatkeep.runtime.rates import WINDOW_S, Rate, Rates

T = TypeVar("T")
HERE, THERE = OrganisationId("here"), OrganisationId("there")
LIMITS = st.integers(1, 60)
WINDOW_US = WINDOW_S * US
WAITS_US = st.one_of(
    st.integers(0, 3),
    st.integers(0, 2 * WINDOW_US),
    st.sampled_from([WINDOW_US - 1, WINDOW_US, WINDOW_US + 1]),
)
TENANTS = st.sampled_from([HERE, THERE])
REQUESTS = st.lists(st.tuples(WAITS_US, TENANTS, st.integers(1, 80)), max_size=12)
"""How long nothing happens, who asks then, and how often."""


@dataclass
class StillClock:
    """Stands still until it is moved."""

    time_us: int = 1_767_268_800_000_000

    def now_us(self) -> int:
        return self.time_us


@dataclass
class Counting:
    """A store that counts requests as `request_rate_take` does, and nothing else."""

    is_shared: bool
    is_lost: bool = False
    windows: dict[OrganisationId, tuple[int, int]] = field(default_factory=dict)

    async def write(self, organisation_id: OrganisationId, body: Callable[[Any], Awaitable[T]]) -> T:
        assert self.is_shared, "a process of its own has nobody to count with"
        await asyncio.sleep(0)  # others may ask meanwhile
        if self.is_lost:
            raise StoreLost("test")

        async def one(_: str, *, wanted: int, now: int, over_if_before: int) -> tuple[int, int]:
            began, admitted = self.windows.get(organisation_id, (now, 0))
            if began <= over_if_before:
                began, admitted = now, 0
            self.windows[organisation_id] = began, admitted + wanted
            return self.windows[organisation_id]

        return await body(SimpleNamespace(one=one))


def rates_of(store: Counting, clock: StillClock) -> Rates:
    return Rates(cast("Any", SimpleNamespace(store=store, clock=clock)))


@given(REQUESTS, LIMITS)
@example([(0, HERE, 2), (WINDOW_US - 1, HERE, 2), (1, HERE, 1)], 2)
async def test_one_process_admits_as_many_as_the_limit_from_the_first_request_on(
    requests: list[tuple[int, OrganisationId, int]], limit: int
) -> None:
    clock = StillClock()
    rates = rates_of(Counting(is_shared=False), clock)
    asked_at: dict[OrganisationId, list[int]] = {HERE: [], THERE: []}
    """Of the window that has begun with the first."""
    for wait_us, tenant, times in requests:
        clock.time_us += wait_us
        for _ in range(times):
            window = asked_at[tenant]
            if window and clock.time_us >= window[0] + WINDOW_US:
                window.clear()
            window.append(clock.time_us)
            left = limit - len(window)
            assert await rates.spend(tenant, limit) == Rate(
                limit, max(left, 0), window[0] + WINDOW_US, is_exceeded=left < 0
            )


@given(REQUESTS, LIMITS, st.integers(1, 3), st.booleans())
@example([(0, HERE, 70)], 60, 1, True)
@example([(0, HERE, 70)], 60, 3, True)
@example([(0, HERE, 2), (WINDOW_US - 1, HERE, 2), (1, HERE, 1)], 2, 2, False)
async def test_nodes_admit_no_more_than_the_limit_together_and_all_of_it_if_one_is_asked(
    requests: list[tuple[int, OrganisationId, int]], limit: int, count: int, at_once: bool
) -> None:
    clock, store = StillClock(), Counting(is_shared=True)
    nodes = [rates_of(store, clock) for _ in range(count)]
    admitted: Counter[tuple[OrganisationId, int]] = Counter()
    asked: Counter[tuple[OrganisationId, int]] = Counter()

    async def spend(node: Rates, tenant: OrganisationId) -> None:
        rate = await node.spend(tenant, limit)
        assert clock.time_us < rate.resets_at <= clock.time_us + WINDOW_US
        assert 0 <= rate.remaining < limit
        admitted[tenant, rate.resets_at] += not rate.is_exceeded
        asked[tenant, rate.resets_at] += 1

    for wait_us, tenant, times in requests:
        clock.time_us += wait_us
        work = [spend(nodes[number % count], tenant) for number in range(times)]
        if at_once:
            await asyncio.gather(*work)
        else:
            for each in work:
                await each
    for window in asked:
        assert admitted[window] <= limit
        if count == 1:
            assert admitted[window] == min(asked[window], limit)


async def test_what_cannot_be_counted_is_admitted_and_the_count_goes_on_later() -> None:
    clock, store = StillClock(), Counting(is_shared=True)
    rates = rates_of(store, clock)
    found = [(await rates.spend(HERE, 3)).is_exceeded for _ in range(2)]
    store.is_lost = True
    found += [(await rates.spend(HERE, 3)).is_exceeded for _ in range(5)]
    store.is_lost = False
    found += [(await rates.spend(HERE, 3)).is_exceeded for _ in range(2)]
    assert found == [False] * 8 + [True]
