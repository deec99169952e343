"""Draining: how the whole process learns that it is to stop, before any connection is closed.

`edge.server` begins it on the first SIGTERM or SIGINT. Health turns not-ready by it, writers of streams wait for it and
close with their cursor, the runner hands its runs back. One object a process, made by the wiring; all of it
belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Drain:
    """The one-way switch from serving to stopping. `limit_s`: from its beginning to the end of the process."""

    def __init__(self, limit_s: float = 10.0) -> None:
        self.limit_s = limit_s
        self._begun = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def is_draining(self) -> bool:
        """Whether it has begun: take no new work."""
        return self._begun.is_set()

    async def wait(self) -> None:
        """Return once it has begun, at once if it has."""
        await self._begun.wait()

    def on_begin(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` run on the loop when it begins, soon if it has; returns the function that takes it back.

        An error in one callback goes to the loop's exception handler and does not keep the others from running.
        """
        if self.is_draining:
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    def begin(self) -> None:
        """Begin, once; later calls do nothing. Needs the running loop."""
        if self.is_draining:
            return
        self._begun.set()
        loop = asyncio.get_running_loop()
        for callback in self._callbacks:
            loop.call_soon(callback)
        self._callbacks.clear()
