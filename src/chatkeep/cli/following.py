"""One answer as it is read from a chat's journal: what is printed of each event, and how it ended, in words.

Whoever answers at the address may be anybody, so nothing is taken for granted about what comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from chatkeep.cli.screen import Screen
from chatkeep.domain.run import INTERRUPTED

State = Literal["completed", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ended; `reason` why it failed."""

    state: State
    reason: str = ""

    @property
    def words(self) -> str:
        """The state for people; empty when all is well."""
        if self.state == "completed":
            return ""
        if self.state == "stopped":
            return "The answer was stopped."
        if self.reason == INTERRUPTED:
            return "The answer was interrupted: the server stopped before it was complete."
        return f"The answer failed: {self.reason}" if self.reason else "The answer failed."


def ending_of(message: Any) -> Ending | None:
    """How the answer in this message ended; None while it is generated."""
    status, error = text_of(message, "status"), text_of(message, "error")
    if status == "generating":
        return None
    return Ending("completed" if status == "complete" else "failed" if error else "stopped", error)


@dataclass(slots=True)
class Following:
    """An answer that is read: the journal is dealt with up to `cursor`, `written` is what was said till then.

    Without a `screen` nothing is printed.
    """

    run_id: str
    question_id: str
    cursor: int
    screen: Screen | None
    answer_id: str = ""
    written: str = ""

    def take(self, kind: str, data: Any, seq: int | None) -> Ending | None:
        """Deal with one event of the chat; the ending if this is it."""
        ending = None
        if kind == "snapshot":
            ending = self._take_snapshot(data)
        elif text_of(data, "run_id") == self.run_id:
            ending = self._take_own(kind, data)
        if seq is not None:
            self.cursor = seq
        return ending

    def wait(self, word: str = "generating") -> None:
        """Show that something is going on as long as nothing has been said."""
        if self.screen is not None and not self.written:
            self.screen.status(word)

    def _take_own(self, kind: str, data: Any) -> Ending | None:
        if kind == "run.started":
            self.answer_id = text_of(data, "answer_id")
        elif kind == "run.delta":
            self._write(text_of(data, "text"))
        elif kind == "run.reasoning":
            self.wait("thinking")
        elif kind == "message.updated":  # an answer that is gone on with: what it has said before
            self._catch_up(data.get("message"))
        elif kind in ("run.completed", "run.stopped", "run.failed"):
            self._catch_up(data.get("message"))
            state: Any = kind.removeprefix("run.")
            return Ending(state, text_of(data, "error"))
        return None

    def _take_snapshot(self, data: Any) -> Ending | None:
        """The chat as it is, where the journal is folded away: the answer is in it as far as it has got."""
        found = [each for each in items_of(data, "messages") if self._is_answer(each)]
        if found:
            self._catch_up(found[-1])
            return ending_of(found[-1])
        chat = data["chat"] if isinstance(data, dict) and "chat" in data else None
        return (
            None if text_of(chat, "status") == "generating" else Ending("failed", text_of(chat, "last_error"))
        )

    def _is_answer(self, message: Any) -> bool:
        if self.answer_id:
            return text_of(message, "id") == self.answer_id
        return text_of(message, "parent_id") == self.question_id and text_of(message, "role") == "assistant"

    def _catch_up(self, message: Any) -> None:
        content = text_of(message, "content")
        if content.startswith(self.written):
            self._write(content[len(self.written) :])

    def _write(self, text: str) -> None:
        if self.screen is not None:
            self.screen.say(text)
        self.written += text


def text_of(data: Any, name: str) -> str:
    """A field of an object if it is text, else nothing."""
    value = data.get(name) if isinstance(data, dict) else None
    return value if isinstance(value, str) else ""


def items_of(data: Any, name: str = "items") -> list[Any]:
    """A field of an object if it is a list, else nothing."""
    value = data.get(name) if isinstance(data, dict) else None
    return value if isinstance(value, list) else []
