"""One chat with a running server, message by message: what `chatkeep chat` does once it knows whom to ask."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from chatkeep.cli.remote import Refused, Remote
from chatkeep.cli.words import printable


class AnswerFailed(Exception):
    """The answer began and did not end well; what came of it is kept in the chat. The text says why."""


@dataclass(slots=True)
class Talk:
    """A chat on a server; `chat_id` is None until there is one. `has_begun`: a message of ours was taken."""

    remote: Remote
    model_id: str | None
    chat_id: str | None
    has_begun: bool = False

    def say(self, message: str) -> None:
        """Send the message and print the answer as it comes. Raises `Refused`, `Unreachable` and `AnswerFailed`."""
        if self.chat_id is not None:
            return self._generate(self.chat_id, message)
        self.chat_id = _text(self.remote.call("POST", "/chats", self._chosen()), "id")
        if not self.chat_id:
            raise Refused("It did not answer as chatkeep does.")
        try:
            self._generate(self.chat_id, message)
        except Refused:
            # Nothing was said in it, so nobody would miss it.
            self.remote.call("DELETE", _path(self.chat_id))
            self.chat_id = None
            raise

    def _generate(self, chat_id: str, message: str) -> None:
        body = {"message": message, "stream": True, **self._chosen()}
        written, last = "", None
        try:
            with closing(self.remote.events(f"{_path(chat_id)}/generate", body)) as events:
                for event in events:
                    self.has_begun = True
                    if event.name == "delta":
                        written = _text(event.data, "text")
                        _print(written)
                    last = event
        finally:
            if written and not written.endswith("\n"):
                _print("\n")
        if last is None or last.name not in ("done", "error"):
            raise AnswerFailed("The server broke off; the answer may go on there.")
        if last.name == "error":
            raise AnswerFailed(_text(last.data, "error") or "The answer failed.")

    def _chosen(self) -> dict[str, str]:
        return {} if self.model_id is None else {"model_id": self.model_id}


def _print(text: str) -> None:
    # Into a file or a pipe goes what the model said, byte for byte; a terminal must not be steered by it.
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def _text(data: Any, name: str) -> str:
    # Whoever answers at the address may be anybody.
    value = data.get(name) if isinstance(data, dict) else None
    return value if isinstance(value, str) else ""


def _path(chat_id: str) -> str:
    return f"/chats/{quote(chat_id, safe='')}"
