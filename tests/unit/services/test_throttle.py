"""The throttle of sign-ins: what counts, for how long, and how much memory it may take."""

from __future__ import annotations

import pytest

from chatkeep.domain.errors import RateLimited, StoreBusy, WrongPassword
from chatkeep.services import throttle
from chatkeep.services.throttle import Throttle


class StillClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time_us = 1_000_000_000

    def now_us(self) -> int:
        return self.time_us

    def advance(self, seconds: float) -> None:
        self.time_us += round(seconds * 1_000_000)


@pytest.fixture
def still() -> StillClock:
    return StillClock()


def fail(bound: Throttle, name: str = "ann", address: str = "1.2.3.4", times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(WrongPassword), bound.attempt(name, address):
            raise WrongPassword


def is_open(bound: Throttle, name: str = "ann", address: str = "1.2.3.4") -> bool:
    try:
        with bound.attempt(name, address):
            return True
    except RateLimited:
        return False


def test_five_failures_of_a_name_and_then_no_more(still: StillClock) -> None:
    bound = Throttle(still)
    fail(bound, times=4)
    assert is_open(bound)
    fail(bound)
    assert not is_open(bound)
    assert not is_open(bound, address="5.6.7.8")
    assert is_open(bound, name="ben")


def test_twenty_failures_of_an_address_and_then_no_more(still: StillClock) -> None:
    bound = Throttle(still)
    for n in range(20):
        fail(bound, name=f"name{n}")
    assert not is_open(bound, name="new")
    assert is_open(bound, name="new", address="5.6.7.8")


def test_what_succeeds_or_breaks_for_another_reason_does_not_count(still: StillClock) -> None:
    bound = Throttle(still)
    fail(bound, times=4)
    for _ in range(50):
        assert is_open(bound)
        with pytest.raises(StoreBusy), bound.attempt("ann", "1.2.3.4"):
            raise StoreBusy
    assert is_open(bound)
    fail(bound)
    assert not is_open(bound)


def test_the_window_slides(still: StillClock) -> None:
    bound = Throttle(still, window_s=100)
    for _ in range(5):
        fail(bound)
        still.advance(10)
    assert not is_open(bound)
    still.advance(49.999)
    assert not is_open(bound)
    still.advance(0.001)
    assert is_open(bound)
    fail(bound)
    assert not is_open(bound)
    still.advance(10)
    assert is_open(bound)


def test_after_the_seconds_it_tells_it_is_open_and_not_before(still: StillClock) -> None:
    bound = Throttle(still, window_s=100)
    fail(bound, times=5)
    still.advance(0.5)
    with pytest.raises(RateLimited) as refused, bound.attempt("ann", "1.2.3.4"):
        pass
    assert refused.value.retry_after_s == 100
    still.advance(refused.value.retry_after_s - 1)
    assert not is_open(bound)
    still.advance(1)
    assert is_open(bound)


def test_attempts_made_at_once_do_not_slip_through_together(still: StillClock) -> None:
    bound = Throttle(still)
    under_way = [bound.attempt("ann", "1.2.3.4") for _ in range(50)]
    entered = 0
    for attempt in under_way:
        try:
            attempt.__enter__()
        except RateLimited:
            continue
        entered += 1
    assert entered == 5


def test_what_was_refused_does_not_prolong_the_wait(still: StillClock) -> None:
    bound = Throttle(still, window_s=100)
    fail(bound, times=5)
    for _ in range(99):
        still.advance(1)
        assert not is_open(bound)
    still.advance(1)
    assert is_open(bound)


def test_names_and_addresses_do_not_mix(still: StillClock) -> None:
    bound = Throttle(still)
    fail(bound, name="same", address="same", times=5)
    assert is_open(bound, name="other", address="same")


def test_memory_is_bounded_and_the_longest_untouched_go_first(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "NAMES_MAX", 10)
    bound = Throttle(still, per_address=10**6)
    fail(bound, name="ann", times=4)
    for n in range(100):
        fail(bound, name=f"name{n}", address=f"address{n}")
        if n % 3 == 0:
            with bound.attempt("ann", "1.2.3.4"):
                pass
        assert len(bound._failures) <= 10
    fail(bound, name="ann")
    assert not is_open(bound), "an attack with many names makes it forget nobody it saw lately"


def test_nothing_is_kept_of_those_who_sign_in(still: StillClock) -> None:
    bound = Throttle(still)
    for n in range(100):
        assert is_open(bound, name=f"name{n}", address=f"address{n}")
    assert not bound._failures
