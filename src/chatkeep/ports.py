"""The real clock and the real source of ids and secrets; wiring hands them in, tests hand in others."""

from __future__ import annotations

import secrets
import time

import uuid_utils

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
