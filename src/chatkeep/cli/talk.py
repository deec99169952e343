"""One chat with a running server, answer by answer: what `chatkeep chat` does once it knows whom to ask.

A question is sent once, under an Idempotency-Key, and its answer is read from the chat's journal by a cursor. So the
server may go away and come back at any moment: nothing is asked twice, lost, or printed twice.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from chatkeep.cli.following import Ending, Following, items_of, text_of
from chatkeep.cli.patience import Patience
from chatkeep.cli.remote import OPEN, Refused, Remote, Unreachable
from chatkeep.cli.screen import Screen
from chatkeep.cli.stop_key import StopKey
from chatkeep.ports import SystemEntropy

BUSY = "Another answer is being generated in this chat; yours comes after it."
STRANGE = "It did not answer as chatkeep does."
BROKEN_OFF = "it broke off"


@dataclass(slots=True)
class Talk:
    """A chat on a server; `chat_id` is None until there is one. `has_begun`: a message of ours was taken.

    What reads or writes raises `Refused`, and `Unreachable` when the server is away for too long.
    """

    remote: Remote
    screen: Screen
    patience: Patience
    model_id: str | None = None
    chat_id: str | None = None
    has_begun: bool = False
    is_stopped: bool = False
    """Whether Ctrl-C has asked for the end of the latest answer."""
    _now: Following | None = field(default=None, init=False)
    _is_waiting: bool = field(default=False, init=False)

    def choose_latest(self) -> None:
        """Go on with the caller's latest chat."""
        found = items_of(self.remote.call("GET", "/chats?limit=1"))
        if not found:
            raise Refused("You have no chat to go on with yet.")
        self.chat_id = text_of(found[0], "id")

    def read(self) -> Any:
        """The chat with its messages."""
        chat = self.remote.call("GET", self._path())
        self.patience.found()
        return chat

    def say(self, message: str) -> Ending:
        """Send the message and print the answer as it comes."""
        self.is_stopped, is_new = False, self.chat_id is None
        if is_new:
            self.chat_id = text_of(self.remote.call("POST", "/chats", self._chosen()), "id")
            if not self.chat_id:
                raise Refused(STRANGE)
            self.patience.found()
        try:
            with StopKey(self._interrupt):
                self._now = self._ask(message)
                return self._follow(self._now)
        except Refused:
            if is_new and not self.has_begun:  # nothing was said in it, so nobody would miss it
                self.remote.call("DELETE", self._path())
                self.chat_id = None
            raise
        finally:
            self._now = None
            self.screen.end_line()

    def attach(self) -> Ending | None:
        """Print the answer that is being generated in the chat, if there is one, up to its end."""
        running = self._running(self.screen)
        if running is None:
            return None
        self.is_stopped, self._now = False, running
        try:
            with StopKey(self._interrupt):
                return self._follow(running)
        finally:
            self._now = None
            self.screen.end_line()

    def _ask(self, message: str) -> Following:
        """Send the question until it is known to be taken."""
        body = {"message": message, "stream": True, "if_busy": "reject", **self._chosen()}
        key, is_again = SystemEntropy().uuid7(), False
        while True:
            try:
                return self._sent(body, key) or self._newest()
            except Refused as no:
                if is_again and no.code in ("idempotency_in_flight", "provider_failed"):
                    return self._newest()  # the first one was taken, though nobody could say so
                with self._waiting():
                    if no.code == "chat_busy":
                        self._wait_for_turn()
                    else:
                        self.patience.lost(no)
            except Unreachable as trouble:
                with self._waiting():
                    self.patience.lost(trouble)
            is_again = True

    def _sent(self, body: dict[str, Any], key: str) -> Following | None:
        """None: it was taken before, and its answer is over."""
        self.screen.status("generating")
        with closing(self.remote.events("POST", f"{self._path()}/generate", body, key=key)) as events:
            for event in events:
                if event.name == OPEN:
                    self.patience.found()
                    self.has_begun = True
                elif event.name == "run" and event.seq is not None:
                    run_id, question_id = text_of(event.data, "run_id"), text_of(event.data, "question_id")
                    return Following(run_id, question_id, event.seq - 1, self.screen)
                else:
                    return None
        raise Unreachable(BROKEN_OFF)

    def _wait_for_turn(self) -> None:
        self.screen.remark(BUSY)
        try:
            running = self._running(None)
        except (Unreachable, Refused) as trouble:
            return self.patience.lost(trouble)
        if running is not None:
            self._follow(running)
        return None

    def _running(self, screen: Screen | None) -> Following | None:
        runs = items_of(self.remote.call("GET", f"{self._path()}/runs?limit=10"))
        self.patience.found()
        return next((_following(each, screen) for each in runs if text_of(each, "state") == "running"), None)

    def _newest(self) -> Following:
        while True:
            try:
                runs = items_of(self.remote.call("GET", f"{self._path()}/runs?limit=1"))
            except (Unreachable, Refused) as trouble:
                with self._waiting():
                    self.patience.lost(trouble)
                continue
            self.has_begun = True
            if not runs:
                raise Refused(STRANGE)
            return _following(runs[0], self.screen)

    def _follow(self, answer: Following) -> Ending:
        while (ending := self._follow_once(answer)) is None:
            pass
        return ending

    def _follow_once(self, answer: Following) -> Ending | None:
        """One connection's worth of the journal; None where the next connection goes on."""
        try:
            with closing(self.remote.events("GET", f"{self._path()}/events?after={answer.cursor}")) as events:
                for event in events:
                    if event.name == OPEN:
                        self.patience.found()
                        answer.wait()
                        if self.is_stopped and answer is self._now:
                            self._stop(answer)
                    elif event.name == "error":
                        raise Refused(text_of(event.data, "detail"), text_of(event.data, "code"))
                    elif event.name == "reconnect":
                        return None
                    elif ending := answer.take(event.name, event.data, event.seq):
                        return ending
            raise Unreachable(BROKEN_OFF)
        except (Unreachable, Refused) as trouble:
            self.patience.lost(trouble)
        return None

    def _interrupt(self) -> None:
        """What the first Ctrl-C does, between any two steps: so the asking is another thread's."""
        self.is_stopped = True
        if self._now is not None:
            threading.Thread(target=self._stop, args=(self._now,), daemon=True).start()
        elif self._is_waiting:
            raise KeyboardInterrupt

    def _stop(self, answer: Following) -> None:
        try:
            self.remote.call("POST", f"{self._path()}/stop", {"run_id": answer.run_id})
        except Unreachable:
            pass  # it is asked again with the next connection
        except Refused as no:
            self.screen.remark(f"It does not stop: {no}")

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Nothing is generated for us now: whoever presses Ctrl-C, or has, wants to leave."""
        self._is_waiting = True
        try:
            if self.is_stopped:
                raise KeyboardInterrupt
            yield
        finally:
            self._is_waiting = False

    def _chosen(self) -> dict[str, str]:
        return {} if self.model_id is None else {"model_id": self.model_id}

    def _path(self) -> str:
        assert self.chat_id is not None
        return f"/chats/{quote(self.chat_id, safe='')}"


def _following(run: Any, screen: Screen | None) -> Following:
    first_seq = run.get("first_seq") if isinstance(run, dict) else None
    if not isinstance(first_seq, int):
        raise Refused(STRANGE)
    return Following(
        run_id=text_of(run, "id"),
        question_id=text_of(run, "question_id"),
        cursor=max(first_seq - 1, 0),
        screen=screen,
        answer_id=text_of(run, "answer_id"),
    )
