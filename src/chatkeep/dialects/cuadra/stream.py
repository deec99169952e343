"""Cuadra's native stream (contracts/cuadra.md A4.1) from a run's pieces: every event has the chat's id, then `[DONE]`.

Pure but for waiting on the run. A client that goes away ends this and never the run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from chatkeep.dialects.cuadra import translate, wire
from chatkeep.domain.errors import ChatkeepError
from chatkeep.domain.ids import ChatId
from chatkeep.models.port import ReasoningDelta, TextDelta
from chatkeep.runtime.runner import LiveRun
from chatkeep.services.runs import Outcome
from chatkeep.web import sse

DONE = b"data: [DONE]\n\n"


async def events(live: LiveRun) -> AsyncIterator[bytes]:
    """The run from its first piece to `[DONE]`, each piece as soon as it is there."""
    chat_id = live.started.run.chat_id
    async for piece in live.pieces():
        yield sse.data(_piece(chat_id, piece))
    try:
        last = _last(await live.outcome())
    except ChatkeepError as error:
        last = _failed(chat_id, str(error))  # what was said could not be kept
    yield sse.data(last)
    yield DONE


def replay(outcome: Outcome) -> bytes:
    """A run that is over as a whole stream, its text in one event."""
    text = "" if outcome.message is None else outcome.message.content
    said = sse.data(_piece(outcome.run.chat_id, TextDelta(text))) if text else b""
    return said + sse.data(_last(outcome)) + DONE


def _piece(chat_id: ChatId, piece: TextDelta | ReasoningDelta) -> wire.Chunk:
    if isinstance(piece, TextDelta):
        return {"id": chat_id, "delta": piece.text, "finished": False}
    return {"id": chat_id, "delta": "", "reasoning": piece.text, "finished": False}


def _last(outcome: Outcome) -> wire.Chunk:
    chat_id = outcome.run.chat_id
    if outcome.error is not None:
        return _failed(chat_id, outcome.error)
    return {"id": chat_id, "delta": "", "finished": True, "usage": translate.usage(outcome.usage)}


def _failed(chat_id: ChatId, sentence: str) -> wire.Chunk:
    error: wire.ChunkError = {"code": "service_error", "message": sentence}
    return {"id": chat_id, "delta": "", "finished": True, "usage": None, "error": error}
