"""`chatkeep chat`: ask a running server, and read the answer as it is written.

Standard output gets the model's text and nothing else; where the chat goes on and what became of an answer is said on
standard error. Whoever has no key but may read the data folder of a server on this machine asks as the owner of its
first organisation.
"""

# ruff: noqa: PLC0415 - what takes long to import is imported only where it is needed

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from chatkeep.cli.options import Data
from chatkeep.cli.words import fail, note, program

if TYPE_CHECKING:
    from chatkeep.cli.remote import Refused
    from chatkeep.cli.talk import Talk
    from chatkeep.config import Settings

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told from others, not listened on
BY_CTRL_C = 130


def chat(
    message: Annotated[
        str | None,
        typer.Argument(help="What to ask; without it, all of standard input, or a prompt on a terminal."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="The server; without it, where CHATKEEP_HOST and CHATKEEP_PORT say.")
    ] = None,
    data: Data = None,
    chat: Annotated[str | None, typer.Option(help="Go on with the chat of this id.", metavar="ID")] = None,
    go_on: Annotated[bool, typer.Option("--continue", help="Go on with your latest chat.")] = False,
    history: Annotated[
        bool,
        typer.Option(
            "--history", help="Print the conversation so far; of your latest chat if none is named."
        ),
    ] = False,
    model: Annotated[str | None, typer.Option(help="Id of the model to ask.", metavar="ID")] = None,
) -> None:
    """Ask a running server. The answer is printed as it is written, and kept there as a chat."""
    from chatkeep.cli.conversation import converse
    from chatkeep.cli.patience import Patience
    from chatkeep.cli.remote import Refused, Remote, Unreachable
    from chatkeep.cli.screen import Screen
    from chatkeep.cli.settings import read_settings
    from chatkeep.cli.talk import Talk

    if go_on and chat is not None:
        raise typer.BadParameter("is for your latest chat; --chat names another one", param_hint="--continue")
    settings = read_settings(data=data)
    server = _checked(url) if url is not None else _own_address(settings)
    screen = Screen()
    talk = Talk(Remote(server, _signer(settings, server, data)), screen, Patience(screen), model, chat)
    try:
        if chat is None and (go_on or history):
            talk.choose_latest()
        ending = converse(talk, None if message is None else _text(message), shows_history=history)
        if ending is not None and ending.state != "completed":
            fail(ending.words, code=BY_CTRL_C if talk.is_stopped else 1)
    except Unreachable as trouble:
        fail(f"No answer from {server} ({trouble}).{_start(server, settings)}")
    except Refused as no:
        fail(_explained(no, server, settings))
    finally:
        screen.end_line()
        _tell(talk, url, data)


def _signer(settings: Settings, server: str, data: Path | None) -> Callable[[], str]:
    if key := _key(settings):
        return lambda: key
    if not _is_own(server, settings):
        fail(f"{server} is not on this machine: set CHATKEEP_KEY to an API key of that server.")
    if not settings.data.expanduser().is_dir():
        fail(
            f"There is no data folder {settings.data}. Start a server with `{program()} serve`, "
            "say with --data where one keeps its data, or set CHATKEEP_KEY to an API key."
        )
    from chatkeep.cli.office import owner_signer

    return owner_signer(data)


def _key(settings: Settings) -> str:
    return "" if settings.key is None else settings.key.get_secret_value().strip()


def _start(server: str, settings: Settings) -> str:
    if not _is_own(server, settings):
        return ""
    port = urlsplit(server).port or settings.port
    return f" `{program()} serve{'' if port == settings.port else f' --port {port}'}` starts a server there."


def _is_own(server: str, settings: Settings) -> bool:
    # An owner's token is for the server on this very data folder, never for strangers.
    host = urlsplit(server).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback or host == settings.host
    except ValueError:
        return host in ("localhost", settings.host)


def _own_address(settings: Settings) -> str:
    host = ANYWHERE.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _checked(url: str) -> str:
    try:
        place = urlsplit(url)
        is_good = place.scheme in ("http", "https") and bool(place.hostname) and place.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise typer.BadParameter("must be like http://127.0.0.1:8000", param_hint="--url")
    return url.rstrip("/")


def _text(message: str) -> str:
    try:
        message.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("is not UTF-8 text", param_hint="MESSAGE") from None
    return message


def _explained(no: Refused, server: str, settings: Settings) -> str:
    if no.code not in ("invalid_credential", "missing_credential"):
        return str(no)
    if _key(settings):
        return f"{server} does not know the key in CHATKEEP_KEY: {no}"
    return f"{server} does not work on the data folder {settings.data}; say --data, or set CHATKEEP_KEY."


def _tell(talk: Talk, url: str | None, data: Path | None) -> None:
    if not talk.has_begun:
        return
    options = [("--url", url), ("--data", data), ("--chat", talk.chat_id)]
    said = [f"{name} {shlex.quote(str(value))}" for name, value in options if value is not None]
    note(f"To go on: {shlex.quote(program())} chat {' '.join(said)}")
