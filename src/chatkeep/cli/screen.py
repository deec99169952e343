"""Where `chatkeep chat` writes: the model's words on standard output, all about them on standard error.

Both may be the same terminal: a word of ours must not stand in the middle of the model's line then.
"""

from __future__ import annotations

import sys

import typer

from chatkeep.cli.words import note, printable

ERASE = "\r\x1b[K"


class Screen:
    """Standard output and standard error of one conversation."""

    def __init__(self) -> None:
        self._is_in_line = False
        self._has_status = False

    def say(self, text: str) -> None:
        """The next piece of what the model says. A pipe gets it byte for byte; a terminal is not steered by it."""
        if not text:
            return
        self._erase_status()
        sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
        sys.stdout.flush()
        self._is_in_line = not text.endswith("\n")

    def end_line(self) -> None:
        """Have what comes next begin a line."""
        self._erase_status()
        if self._is_in_line:
            self.say("\n")

    def remark(self, sentence: str) -> None:
        """One dim line about the answer, which may go on after it."""
        self._erase_status()
        if self._is_in_line and sys.stdout.isatty():
            self.say("\n")
        note(sentence, is_dim=True)

    def status(self, word: str) -> None:
        """What is going on while nothing is said; it vanishes with the next word, and is for terminals only."""
        if sys.stderr.isatty() and not self._is_in_line:
            self._erase_status()
            typer.echo(typer.style(f"{word} …", dim=True), err=True, nl=False)
            self._has_status = True

    def _erase_status(self) -> None:
        if self._has_status:
            self._has_status = False
            typer.echo(ERASE, err=True, nl=False)
