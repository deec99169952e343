"""The conversation of `chatkeep chat` with the person at the terminal, or with whatever is on standard input."""

from __future__ import annotations

import sys
from typing import Any

import typer

from chatkeep.cli.following import Ending, ending_of, items_of, text_of
from chatkeep.cli.remote import Refused
from chatkeep.cli.talk import Talk
from chatkeep.cli.words import note

PROMPT = "> "
HINT = "Ctrl-C stops an answer, Ctrl-D ends."


def converse(talk: Talk, message: str | None, *, shows_history: bool) -> Ending | None:
    """Say the message, or what standard input holds, or on a terminal one line after the other.

    The ending of the one answer; None where none was asked for, or where each was told about at the prompt. Raises what
    `Talk` raises.
    """
    is_prompting = message is None and sys.stdin.isatty()
    said = message if message is not None or is_prompting else _piped()
    if shows_history:
        _show_history(talk, is_to_end=not is_prompting and not said)
    if is_prompting:
        _prompt(talk)
        return None
    return talk.say(said) if said else None


def _piped() -> str:
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        raise typer.BadParameter("is not UTF-8 text", param_hint="standard input") from None


def _prompt(talk: Talk) -> None:
    note(HINT, is_dim=True)
    if talk.chat_id is not None:
        _told(talk.attach())
    while (line := _asked()) is not None:
        if line.strip():
            _say(talk, line)


def _say(talk: Talk, line: str) -> None:
    try:
        _told(talk.say(line))
    except Refused as no:
        if not talk.has_begun:
            raise
        note(str(no), is_dim=True)


def _asked() -> str | None:
    """The next line from the terminal; None at its end."""
    try:
        if sys.stdout.isatty():
            import readline  # noqa: F401, PLC0415 - imported, it lets `input` edit the line and remember earlier ones

            return input(PROMPT)
        typer.echo(PROMPT, nl=False, err=True)
        return sys.stdin.readline() or None
    except EOFError:
        typer.echo()
        return None


def _told(ending: Ending | None) -> None:
    if ending is not None and ending.words:
        note(ending.words, is_dim=True)


def _show_history(talk: Talk, *, is_to_end: bool) -> None:
    """The current path: questions after `>`, answers as they are, and in brackets what became of an unfinished one."""
    messages = items_of(talk.read(), "messages")
    for message in messages:
        if is_to_end or text_of(message, "status") != "generating":
            _show(talk, message)


def _show(talk: Talk, message: Any) -> None:
    role, content = text_of(message, "role"), text_of(message, "content")
    if role == "user":
        content = "\n".join(PROMPT + line for line in content.splitlines())
    elif role != "assistant":
        return
    talk.screen.say(content)
    talk.screen.end_line()
    ending = ending_of(message)
    words = "The answer is being generated." if ending is None else ending.words
    talk.screen.say(f"[{words}]\n\n" if words else "\n")
