"""Coming back to a server that is away for a moment: when to try again, and what is said meanwhile."""

from __future__ import annotations

import time

from chatkeep.cli.remote import Refused, Unreachable
from chatkeep.cli.screen import Screen

FIRST_PAUSE_S = 0.1
PAUSE_MAX_S = 5.0
GIVE_UP_S = 300.0


class Patience:
    """How long one waits for one server. Who has never answered is not waited for."""

    def __init__(self, screen: Screen, *, give_up_s: float = GIVE_UP_S) -> None:
        self._screen = screen
        self._give_up_s = give_up_s
        self._has_answered = False
        self._until: float | None = None
        self._pause_s = FIRST_PAUSE_S

    def found(self) -> None:
        """The server answers."""
        self._has_answered = True
        self._until = None
        self._pause_s = FIRST_PAUSE_S

    def lost(self, trouble: Unreachable | Refused) -> None:
        """Pause before the next try, longer each time; one line says so the first time.

        Raises `trouble` after too long, and at once where it is no matter of time.
        """
        if not self._has_answered or (isinstance(trouble, Refused) and not trouble.is_passing):
            raise trouble
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._give_up_s
            self._screen.remark(f"The server is away ({_reason(trouble)}); reconnecting …")
        elif now >= self._until:
            raise trouble
        time.sleep(self._pause_s)
        self._pause_s = min(self._pause_s * 2, PAUSE_MAX_S)


def _reason(trouble: Unreachable | Refused) -> str:
    return str(trouble).rstrip(".").lower()
