"""Bounds attempts per name and per address over a sliding window, in the memory of this process."""

from __future__ import annotations

from collections import deque

from chatkeep.domain.errors import RateLimited
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

    def check(self, name: str, address: str) -> None:
        """Raise `RateLimited` when either has failed too often lately."""
        now = self._clock.now_us()
        for key in (("name", name), ("address", address)):
            failures = self._failures.get(key)
            while failures and failures[0] <= now - self._window_us:
                failures.popleft()
            if failures and len(failures) >= self._bounds[key[0]]:
                raise RateLimited(max(1, (failures[0] + self._window_us - now) // US))

    def failed(self, name: str, address: str) -> None:
        """Count one failure against both."""
        if len(self._failures) >= NAMES_MAX:
            self._failures.pop(next(iter(self._failures)))
        for key in (("name", name), ("address", address)):
            self._failures.setdefault(key, deque()).append(self._clock.now_us())
