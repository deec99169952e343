"""The manual has every command and every option, says something about each, and none that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from chatkeep.cli.app import app
from tests.flows.command_line import invoke

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def commands(command: Any = None, path: str = "chatkeep") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by what one types."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, each in command.commands.items():
        yield from commands(each, f"{path} {name}")


def documented() -> dict[str, set[str]]:
    """Command -> options with a line of their own that says something."""
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    return {
        section.partition("\n")[0]: set(re.findall(r"^\| `(--[\w-]+)` \| \S.* \|$", section, re.MULTILINE))
        for section in sections
    }


def test_commands_and_options_are_those_of_the_manual() -> None:
    real = {
        path: {
            option
            for parameter in command.params
            if not getattr(parameter, "hidden", False)
            for option in parameter.opts
            if option.startswith("--")
        }
        - {"--help"}
        for path, command in commands()
    }
    assert documented() == real


def test_every_option_and_argument_has_help_and_every_command_a_sentence() -> None:
    for path, command in commands():
        assert (command.help or "").endswith("."), path
        for parameter in command.params:
            assert parameter.name == "help" or (getattr(parameter, "help", None) or "").endswith("."), (
                f"{path} {parameter.name}"
            )


def test_help_and_version_are_answered() -> None:
    done = invoke("--help")
    assert done.code == 0
    assert {
        "serve",
        "chat",
        "keys",
        "users",
        "orgs",
        "models",
        "config",
        "doctor",
        "sweep",
        "backup",
        "nodes",
        "migrate",
    } <= set(done.out.split())
    assert re.fullmatch(r"chatkeep \d+\.\d+\.\d+\n", invoke("--version").out)
    assert invoke("keys", "list", "--nonsense").code == 2
