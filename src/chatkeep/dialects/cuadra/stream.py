"""Cuadra's native stream (contracts/cuadra.md A4.1) from a run's journal: every event has the chat's id, then `[DONE]`.

Pure but for waiting on the run. A client that goes away ends this and never the run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from chatkeep.dialects.cuadra import translate, wire
from chatkeep.domain.errors import ChatkeepError, ShuttingDown
from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId
from chatkeep.runtime.runner import LiveRun
from chatkeep.services.generating import Outcome, outcome_of
from chatkeep.web import sse

DONE = b"data: [DONE]\n\n"


async def events(live: LiveRun, journal: AsyncIterator[list[Event]]) -> AsyncIterator[bytes]:
    """The run from its first piece to `[DONE]`; `journal` brings its events."""
    chat_id = live.run.chat_id
    try:
        async for batch in journal:
            if not batch:
                yield sse.HEARTBEAT
            for event in batch:
                if event.text is not None:
                    yield piece(event)
                elif event.ends_run:
                    outcome = outcome_of(live.run, event)
                    yield _calls(outcome) + sse.data(_last(outcome))
                    yield DONE
                    return
        failure: ChatkeepError = live.failure or ShuttingDown()  # how it ends is not known here
    except ChatkeepError as error:  # who reads may not read any longer
        failure = error
    yield sse.data(_failed(chat_id, str(failure)))
    yield DONE


def piece(event: Event) -> bytes:
    """The next piece of the answer's text, or of what the model thinks."""
    assert event.text is not None
    return sse.data(_piece(event.chat_id, event.text, is_reasoning=event.kind == "run.reasoning"))


def replay(outcome: Outcome) -> bytes:
    """A run that is over as a whole stream, its text in one event."""
    text = "" if outcome.message is None else outcome.message.content
    said = sse.data(_piece(outcome.run.chat_id, text)) if text else b""
    return said + _calls(outcome) + sse.data(_last(outcome)) + DONE


def _calls(outcome: Outcome) -> bytes:
    calls = [] if outcome.message is None else translate.tool_calls(outcome.message)
    if not calls:
        return b""
    chunk: wire.Chunk = {"id": outcome.run.chat_id, "delta": "", "toolCalls": calls, "finished": False}
    return sse.data(chunk)


def _piece(chat_id: ChatId, text: str, *, is_reasoning: bool = False) -> wire.Chunk:
    if not is_reasoning:
        return {"id": chat_id, "delta": text, "finished": False}
    return {"id": chat_id, "delta": "", "reasoning": text, "finished": False}


def _last(outcome: Outcome) -> wire.Chunk:
    chat_id = outcome.run.chat_id
    if outcome.error is not None:
        return _failed(chat_id, outcome.error)
    return {"id": chat_id, "delta": "", "finished": True, "usage": translate.usage(outcome.usage)}


def _failed(chat_id: ChatId, sentence: str) -> wire.Chunk:
    error: wire.ChunkError = {"code": "service_error", "message": sentence}
    return {"id": chat_id, "delta": "", "finished": True, "usage": None, "error": error}
