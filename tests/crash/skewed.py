"""A machine whose clock is wrong, as one process sees it: Python's time, and the times in the ids that it makes."""

from __future__ import annotations

import time
from typing import Any

import uuid_utils

from chatkeep.domain.text import US

MS = 1_000


def set_off(seconds: float) -> None:
    """Have the wall clock of this process be off by so much from now on; the steady clock knows of no time of day."""
    seconds_now, nanoseconds_now = time.time, time.time_ns
    honest = uuid_utils.uuid7

    def uuid7(*_: Any, **__: Any) -> Any:
        made = honest()
        late = (made.timestamp + round(seconds * MS)) << 80
        return uuid_utils.UUID(int=made.int & ((1 << 80) - 1) | late)

    time.time = lambda: seconds_now() + seconds
    time.time_ns = lambda: nanoseconds_now() + round(seconds * US) * 1000
    uuid_utils.uuid7 = uuid7
