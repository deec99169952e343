"""How commands speak: answers on standard output, everything else on standard error, failures in one line.

Names and texts come from people and from models, so what reaches a terminal has its control characters taken out.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import typer

CELL_NONE = "-"
_CONTROLS = {number: None for number in (*range(32), *range(127, 160)) if chr(number) not in "\n\t"}
_BLANKS = str.maketrans("\n\t", "  ")


def fail(sentence: str, *, code: int = 1) -> NoReturn:
    """End the command with one line on standard error and this exit code."""
    note(f"chatkeep: {sentence}")
    raise typer.Exit(code)


def note(line: str, *, is_dim: bool = False) -> None:
    """One line for the person at the terminal, on standard error."""
    said = printable(line)
    typer.echo(typer.style(said, dim=True) if is_dim else said, err=True)  # echo knows what is no terminal


def printable(text: str) -> str:
    """The text without control characters, so that it cannot steer a terminal; line ends and tabs stay."""
    return text.translate(_CONTROLS)


def show(columns: Sequence[str], rows: Iterable[Sequence[str | None]]) -> None:
    """A table for people on a terminal, else a line of column names and lines of cells with a tab between them."""
    lines = [[printable(cell or CELL_NONE).translate(_BLANKS) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, lines)
    else:
        for line in (columns, *lines):
            typer.echo("\t".join(line))


def program() -> str:
    """How this command line was called, for hints that can be copied."""
    called = sys.argv[0]
    if Path(called).name != "chatkeep":
        return "chatkeep"
    return "chatkeep" if shutil.which("chatkeep") == called else called


def _draw(columns: Sequence[str], lines: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - only a terminal needs it, and it takes its time to import
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for line in lines:
        table.add_row(*(Text(cell, overflow="fold") for cell in line))
    Console().print(table)
