"""Bounds attempts per name and per address over a sliding window, in the memory of this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from chatkeep.domain.errors import RateLimited, WrongPassword
from chatkeep.domain.ids import Clock
from chatkeep.domain.text import US

NAMES_MAX = 100_000


class Throttle:
    """Counts failed sign-ins; see design limits: 5 per name and 20 per address in 30 minutes."""

    def __init__(
        self, clock: Clock, *, per_name: int = 5, per_address: int = 20, window_s: int = 1800
    ) -> None:
        self._clock = clock
        self._bounds = {"name": per_name, "address": per_address}
        self._window_us = window_s * US
        self._failures: dict[tuple[str, str], deque[int]] = {}

    @contextmanager
    def attempt(self, name: str, address: str) -> Iterator[None]:
        """One attempt. Raises `RateLimited` when either has failed too often lately.

        It counts from its beginning, so that attempts made at once do not slip through together, and is taken back
        unless it ends in `WrongPassword`.
        """
        keys = (("name", name), ("address", address))
        now = self._clock.now_us()
        for key in keys:
            self._check(key, now)
        for key in keys:
            self._count(key, now)
        is_failure = False
        try:
            yield
        except WrongPassword:
            is_failure = True
            raise
        finally:
            if not is_failure:
                for key in keys:
                    self._take_back(key, now)

    def _check(self, key: tuple[str, str], now: int) -> None:
        failures = self._failures.get(key, deque())
        while failures and failures[0] <= now - self._window_us:
            failures.popleft()
        if len(failures) >= self._bounds[key[0]]:
            remaining_us = failures[0] + self._window_us - now
            raise RateLimited(-(-remaining_us // US))

    def _count(self, key: tuple[str, str], now: int) -> None:
        failures = self._failures.pop(key, None) or deque()
        while len(self._failures) >= NAMES_MAX:
            del self._failures[next(iter(self._failures))]
        self._failures[key] = failures  # now the last to be dropped
        failures.append(now)

    def _take_back(self, key: tuple[str, str], began: int) -> None:
        failures = self._failures.get(key)
        if failures is None or began not in failures:
            return
        failures.remove(began)
        if not failures:
            del self._failures[key]
