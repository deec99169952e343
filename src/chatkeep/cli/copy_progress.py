"""How far `chatkeep copy` is: on a terminal one line that is written anew, else a line every few seconds."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import typer

from chatkeep.cli.screen import ERASE
from chatkeep.cli.words import note, printable

if TYPE_CHECKING:
    from chatkeep.store.copying import Progress

TERMINAL_S, OTHERWISE_S = 0.1, 5.0


class CopyProgress:
    """Writes to standard error. Rows a second are those of this try, of copying and of comparing each for itself."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._verb = ""
        self._began_s = self._said_s = time.monotonic()
        self._began_rows = 0
        self._is_in_line = False

    def tell(self, progress: Progress) -> None:
        """Say it, if it is long enough ago that something was said, or if it is the last of its kind."""
        now_s = time.monotonic()
        if progress.verb != self._verb:
            self._verb, self._began_s, self._began_rows = progress.verb, now_s, progress.done
        is_last = progress.done == progress.total
        if not is_last and now_s - self._said_s < (TERMINAL_S if self._is_terminal else OTHERWISE_S):
            return
        self._said_s = now_s
        rate = (progress.done - self._began_rows) / max(now_s - self._began_s, 0.001)
        line = (
            f"{progress.verb} {progress.done} of {progress.total} rows, {rate:.0f} rows/s ({progress.table})"
        )
        if self._is_terminal:
            typer.echo(ERASE + printable(line), err=True, nl=False)
            self._is_in_line = True
        else:
            note(line)

    def end(self) -> None:
        """End the line that is written anew, for what comes next."""
        if self._is_in_line:
            self._is_in_line = False
            typer.echo("", err=True)
