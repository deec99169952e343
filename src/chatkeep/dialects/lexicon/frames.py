"""The journal's events as frames of Lexicon's WebSocket. Pure, but for what it remembers of the runs under way.

Every frame of an event has its `seq`, which the vendor's have not: a client that comes back with `?after=<seq>` misses
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chatkeep.dialects.lexicon.wire import Frame, FrameKind
from chatkeep.domain.errors import ChatkeepError, NotFound
from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId, MessageId, PrincipalId, RunId
from chatkeep.domain.message import Message
from chatkeep.domain.text import iso_z
from chatkeep.services.journal import Batch, Snapshot

BAD_KEY = "Invalid API key"
NO_USER = "Missing user_id parameter"
FIXES = {
    "AUTH_ERROR": "Send your tenant's API key as ?api_key= or X-API-Key; each tenant has a key of its own.",
    "CHAT_NOT_FOUND": "Create it with POST /api/v1/chats/ and connect with its id as ?chat_id= or X-Chat-ID.",
    "RATE_LIMITED": "Wait a moment, then send it again.",
    "INVALID_MESSAGE": 'Send one JSON object a frame: {"content": "...", "metadata": {...}}; metadata is optional.',
    "CHAT_CLOSED": "This chat takes no further messages; create another one.",
}
CODES = {
    "unauthenticated": "AUTH_ERROR",
    "denied": "AUTH_ERROR",
    "invalid": "INVALID_MESSAGE",
    "exhausted": "RATE_LIMITED",
}
"""By kind; what is more special has its own name."""


class Frames:
    """What a socket is shown of one chat. `names` says under which ids the tenant knows the people in it."""

    def __init__(self, chat_id: ChatId, names: Mapping[PrincipalId, str], user_id: str) -> None:
        self._chat_id = chat_id
        self._names = names
        self._user_id = user_id
        self._asked: dict[MessageId, str] = {}
        self._runs: dict[RunId, str] = {}

    def of(self, batch: Batch) -> Iterator[Frame]:
        """The frames of what was read from the journal."""
        if isinstance(batch, Snapshot):
            yield from self._under_way(batch)
            return
        for event in batch:
            for frame in self._of(event):
                yield {**frame, "seq": event.seq}

    def _of(self, event: Event) -> Iterator[Frame]:
        at, message = event.at, event.message
        user_id = self._user_id if event.run_id is None else self._runs.get(event.run_id, self._user_id)
        if event.ends_run and event.run_id is not None:
            self._runs.pop(event.run_id, None)
        if event.kind == "run.started" and event.run_id is not None:
            yield self._started(event.run_id, MessageId(str((event.data or {})["question_id"])), at)
        elif event.kind == "run.delta":
            yield self._frame("message_stream_token", at, token=event.text)
        elif event.ends_run:
            failure = (event.data or {}).get("error")
            if event.kind == "run.failed":
                yield failed("GENERATION_FAILED", str(failure or "The answer could not be generated."), at)
            if message is not None:
                yield self._ended(message, user_id, at)
        elif message is not None and message.role == "user":
            yield self._received(message, at)
        elif message is not None and message.role == "assistant":
            yield from self._whole(message, user_id, at, is_of_run=event.run_id is not None)

    def _under_way(self, snapshot: Snapshot) -> Iterator[Frame]:
        """Answers that are being generated: what they have said so far as one token."""
        at, by_id = snapshot.chat.updated_at, {message.id: message for message in snapshot.messages}
        for run in snapshot.runs:
            question, answer = by_id.get(run.question_id), by_id.get(run.answer_id)
            if question is not None:
                self._asker(question)
            yield self._started(run.id, run.question_id, at)
            if answer is not None and answer.content:
                yield self._frame("message_stream_token", at, token=answer.content)

    def _whole(self, message: Message, user_id: str, at: int, *, is_of_run: bool) -> Iterator[Frame]:
        """An answer that begins or, having ended, goes on: with what it says already; or one that nobody generates."""
        if not is_of_run:
            yield self._frame("message_stream_started", at, user_id=user_id)
        if message.content:
            yield self._frame("message_stream_token", at, token=message.content)
        if not is_of_run:
            yield self._ended(message, user_id, at)

    def _asker(self, question: Message) -> str:
        author = question.author_id
        user_id = self._asked[question.id] = (
            self._user_id if author is None else self._names.get(author, author)
        )
        return user_id

    def _received(self, message: Message, at: int) -> Frame:
        user_id = self._asker(message)
        return self._frame(
            "message_received", at, message_id=message.id, user_id=user_id, content=message.content
        )

    def _started(self, run_id: RunId, question_id: MessageId, at: int) -> Frame:
        user_id = self._runs[run_id] = self._asked.pop(question_id, self._user_id)
        return self._frame("message_stream_started", at, user_id=user_id)

    def _ended(self, message: Message, user_id: str, at: int) -> Frame:
        return self._frame(
            "message_stream_ended", at, message_id=message.id, user_id=user_id, content=message.content
        )

    def _frame(self, kind: FrameKind, at: int, **fields: object) -> Frame:
        return {"event_type": kind, "timestamp": iso_z(at), "chat_id": self._chat_id, **fields}


def established(user_id: str, chat_id: ChatId, tenant_id: str, at: int) -> Frame:
    """The first frame of every connection."""
    who = {"user_id": user_id, "chat_id": chat_id, "tenant_id": tenant_id}
    return {"event_type": "connection_established", "timestamp": iso_z(at), **who}


def user_created(user_id: str, at: int) -> Frame:
    """Nobody knew this user before."""
    return {"event_type": "user_created", "timestamp": iso_z(at), "user_id": user_id}


def failed(code: str, sentence: str, at: int) -> Frame:
    """An error; `details.fix` says what to do, where anybody knows."""
    details = {"fix": FIXES[code]} if code in FIXES else {}
    return {
        "event_type": "error",
        "timestamp": iso_z(at),
        "error_code": code,
        "error_message": sentence,
        "details": details,
    }


def error(problem: ChatkeepError, chat_id: str, at: int) -> Frame:
    """A domain error, in the vendor's words where it has some."""
    code, sentence = code_of(problem), str(problem)
    if problem.kind == "unauthenticated":
        sentence = BAD_KEY
    elif code == "CHAT_NOT_FOUND":
        sentence = f"Chat with chat_id '{chat_id}' not found or does not belong to your tenant"
    return failed(code, sentence, at)


def code_of(problem: ChatkeepError) -> str:
    """The vendor's code, or one in its manner."""
    if isinstance(problem, NotFound):
        return "CHAT_NOT_FOUND"
    if problem.code == "session_ended":
        return "CHAT_CLOSED"
    return CODES.get(problem.kind, problem.code.upper())
