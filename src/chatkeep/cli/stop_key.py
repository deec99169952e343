"""Ctrl-C while an answer is generated: the first one asks for the answer's end, the second one leaves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self


class StopKey:
    """As a context: what Ctrl-C does inside it. `on_first` runs between two steps of the program, so it must be quick.

    Reading goes on where it was interrupted: no piece of an answer is lost or printed twice. Does nothing outside the
    main thread, where Python has no signals.
    """

    def __init__(self, on_first: Callable[[], None]) -> None:
        self._on_first = on_first
        self._before: Any = None
        self.is_pressed = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _press(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_pressed:
            raise KeyboardInterrupt
        self.is_pressed = True
        self._on_first()
