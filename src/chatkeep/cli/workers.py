"""Several servers on one port: a parent that binds the socket, starts them, and starts one again that died.

They share the listening socket, so that none that ends takes waiting connections with it. Each is a node of its own.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from chatkeep.cli.words import fail, note
from chatkeep.edge.server import cannot_listen, listen

if TYPE_CHECKING:
    from chatkeep.config import Settings

YOUNG_S = 5.0
"""Who dies younger has not started: that is not tried for ever."""
YOUNG_DEATHS_MAX = 5
LOOK_S = 0.1
GRACE_S = 2.0


def supervise(settings: Settings, count: int) -> int:
    """Keep `count` servers running until told to stop; the exit code for this process."""
    try:
        door = listen(settings.host, settings.port)
    except OSError as error:
        fail(cannot_listen((settings.host, settings.port), error))
    command = [*_without_workers(sys.orig_argv), "--listener", str(door.fileno())]
    children = _Children(lambda: subprocess.Popen(command, pass_fds=(door.fileno(),)))  # noqa: S603 - our own command

    def handle(number: int, _frame: FrameType | None) -> None:
        children.stop(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    children.start(count)
    return children.keep(settings.drain_s)


class _Children:
    def __init__(self, begin: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._begin = begin
        self._living: dict[subprocess.Popen[bytes], float] = {}
        self._young_deaths = 0
        self._stopping_since: float | None = None

    def start(self, count: int) -> None:
        """So many more."""
        for _ in range(count):
            self._living[self._begin()] = time.monotonic()

    def stop(self, number: int) -> None:
        """Have all of them end; a second time at once."""
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
        for child in self._living:
            child.send_signal(number)

    def keep(self, drain_s: float) -> int:
        """Until all have ended: 0 if they were told to and did so in order."""
        worst = 0
        while self._living:
            for child in [child for child in self._living if child.poll() is not None]:
                worst = max(worst, self._bury(child))
            if (
                self._stopping_since is not None
                and time.monotonic() - self._stopping_since > drain_s + GRACE_S
            ):
                for child in self._living:
                    child.kill()
            time.sleep(LOOK_S)
        return worst

    def _bury(self, child: subprocess.Popen[bytes]) -> int:
        began = self._living.pop(child)
        code = child.returncode
        if self._stopping_since is not None:
            return 1 if code else 0
        self._young_deaths = self._young_deaths + 1 if time.monotonic() - began < YOUNG_S else 0
        if self._young_deaths >= YOUNG_DEATHS_MAX:
            note("chatkeep: a server ended again and again right after its start; giving up.")
            self.stop(signal.SIGTERM)
            return 1
        note(f"chatkeep: the server with process id {child.pid} ended ({code}); another one takes its place.")
        self.start(1)
        return 0


def _without_workers(argv: list[str]) -> list[str]:
    """The command line again, for one of them."""
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--workers":
            next(words, None)
        elif not word.startswith("--workers="):
            kept.append(word)
    return kept
