"""The command line at a terminal of its own, that is also its controlling one: Ctrl-C is a key there."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
from contextlib import suppress
from time import monotonic

from tests.flows.command_line import PATIENCE_S, PROGRAM, environment

CTRL_C, CTRL_D = "\x03", "\x04"
LOOK_S = 0.02
PRESS_AGAIN_S = 1.0


class Terminal:
    """A running command. `settings` are the server's, as `environment` takes them."""

    def __init__(self, *arguments: str, **settings: str) -> None:
        command = (*PROGRAM, *arguments)
        env = {**environment(**settings), "TERM": "dumb"}
        self._pid, self._near = pty.fork()
        if self._pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # it may be ignored around the tests
            os.execve(command[0], command, env)  # nothing of the loop is touched in the child
        self._seen = ""

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._near, keys.encode())

    async def see(self, text: str) -> str:
        """Wait until the terminal shows this after all that was seen before; returns what came up to its end."""
        while text not in self._seen:
            self._seen += await self._more(text)
        before, _, self._seen = self._seen.partition(text)
        return before + text

    async def leave(self, key: str) -> int:
        """Press a key that ends the command, until it has ended; its exit code.

        Python's prompt overlooks a Ctrl-C that comes after it is shown and before it first waits, until another key.
        """
        until_s = monotonic() + PATIENCE_S
        while monotonic() < until_s:
            self.type(key)
            with suppress(TimeoutError):
                async with asyncio.timeout(PRESS_AGAIN_S):
                    return await self.end()
        self._seen += os.read(self._near, 65_536).decode(errors="replace")
        raise AssertionError(f"it does not end: {self._seen!r}")

    async def end(self) -> int:
        """Wait for the command's end; its exit code."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                pid, status = os.waitpid(self._pid, os.WNOHANG)  # noqa: ASYNC222 - WNOHANG does not wait
                if pid:
                    os.close(self._near)
                    return os.waitstatus_to_exitcode(status)
                await asyncio.sleep(LOOK_S)

    async def _more(self, awaited: str) -> str:
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._near, readable.set)
        try:
            await asyncio.wait_for(readable.wait(), PATIENCE_S)
        except TimeoutError:
            raise AssertionError(f"no {awaited!r} in {self._seen!r}") from None
        finally:
            loop.remove_reader(self._near)
        return os.read(self._near, 4096).decode(errors="replace")
