"""The real clock and the real source of ids and secrets; wiring hands them in, tests hand in others."""

from __future__ import annotations

import os
import secrets
import time

import uuid_utils

from chatkeep.domain.ids import Clock

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000


class SystemEntropy:
    """UUIDv7 and the operating system's random source."""

    def uuid7(self) -> str:
        """A new time-ordered UUID, 36 characters."""
        return str(uuid_utils.uuid7())

    def secret(self, characters: int) -> str:
        """That many random base62 characters."""
        return "".join(secrets.choice(_BASE62) for _ in range(characters))


class SharedEntropy(SystemEntropy):
    """As the system's, but the time in the ids is `clock`'s: of machines that share a store, none is ahead by its own.

    The ids of one process go up (RFC 9562, 6.2, method 3: the time below the millisecond is in them).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def uuid7(self) -> str:
        """A new time-ordered UUID, 36 characters."""
        milliseconds, rest_us = divmod(self._clock.now_us(), 1000)
        self._last = max(milliseconds << 12 | (rest_us << 12) // 1000, self._last + 1)
        time_high, time_low = self._last >> 12, self._last & 0xFFF
        chance = int.from_bytes(os.urandom(8), "big") >> 2
        return str(uuid_utils.UUID(int=time_high << 80 | 7 << 76 | time_low << 64 | 2 << 62 | chance))
