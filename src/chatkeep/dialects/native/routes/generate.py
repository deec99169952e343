"""Ask the model: wait for the whole answer, or read it as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import Request, Response

from chatkeep.dialects.native import errors, translate, wire
from chatkeep.dialects.native.manner import Caller
from chatkeep.dialects.native.routes.chats import ChatPath
from chatkeep.domain.errors import ChatkeepError, NotFound, ProviderFailed
from chatkeep.domain.ids import ChatId, ModelId
from chatkeep.domain.message import NewMessage
from chatkeep.domain.text import check_text
from chatkeep.models.port import TextDelta
from chatkeep.runtime.runner import LiveRun
from chatkeep.services import runs
from chatkeep.services.context import Answer, Context, Note
from chatkeep.services.runs import Outcome, Wish
from chatkeep.web import sse
from chatkeep.web.answers import JsonAnswer
from chatkeep.web.dialect import TheHouse, make_router
from chatkeep.web.idempotency import Key, claimed

router = make_router()
OK = 200


@router.post(
    "/chats/{chat_id}/generate",
    summary="Ask the model",
    responses={200: {"model": wire.GenerateOut, "content": {"text/event-stream": {}}}},
)
async def generate(
    chat_id: ChatPath,
    ctx: Caller,
    house: TheHouse,
    request: Request,
    body: wire.GenerateIn = wire.GenerateIn(),
    idempotency_key: Key = None,
) -> Response:
    """Append `message` if given, then answer. The question is on disk before the model is called, and the run goes on
    when you go away. With `stream`, events `run`, `delta`, `reasoning` and at last `done` or `error`.
    """
    house.runner.check_open()
    said = _said(ctx, body.message)
    wish = Wish(
        model_id=None if body.model_id is None else ModelId(body.model_id),
        max_tokens=body.max_tokens,
        temperature=body.temperature,
    )
    claim = await claimed(ctx, request, lambda started: Note(started.run.chat_id))
    settle = _settle_events if body.stream else _settle
    live = house.runner.begin(await runs.start(claim, ChatId(chat_id), said, wish, settle=settle))
    if body.stream:
        return sse.stream(_events(live), heartbeat_s=ctx.system.limits.sse_heartbeat_s)
    return _respond(await live.outcome())


def _said(ctx: Context, message: str | None) -> list[NewMessage]:
    if message is None:
        return []
    check_text("message", message, bytes_max=ctx.system.limits.message_bytes_max)
    return [NewMessage("user", message, author_id=ctx.principal.id)]


async def _events(live: LiveRun) -> AsyncIterator[bytes]:
    run = live.started.run
    yield sse.data({"run_id": run.id, "chat_id": run.chat_id, "question_id": run.question_id}, event="run")
    async for piece in live.pieces():
        yield sse.data({"text": piece.text}, event="delta" if isinstance(piece, TextDelta) else "reasoning")
    try:
        outcome = await live.outcome()
    except ChatkeepError as failure:  # its end could not be written; who listens is told so all the same
        outcome = Outcome(run, None, None, str(failure))
    yield _last(outcome)


def _last(outcome: Outcome) -> bytes:
    return sse.data(_out(outcome), event="done" if _refusal(outcome) is None else "error")


def _refusal(outcome: Outcome) -> ChatkeepError | None:
    if outcome.error is not None:
        return ProviderFailed(outcome.error)
    # Without text and without error the chat was deleted for good while the model spoke.
    return NotFound("Chat") if outcome.message is None else None


def _respond(outcome: Outcome) -> Response:
    refusal = _refusal(outcome)
    return JsonAnswer(_out(outcome)) if refusal is None else errors.write_error(refusal, "POST")


def _settle(outcome: Outcome) -> Answer:
    response = _respond(outcome)
    return response.status_code, bytes(response.body)


def _settle_events(outcome: Outcome) -> Answer:
    return OK, _last(outcome)


def _out(outcome: Outcome) -> wire.GenerateOut:
    run, refusal = outcome.run, _refusal(outcome)
    return {
        "run_id": run.id,
        "chat_id": run.chat_id,
        "question_id": run.question_id,
        "message": None if outcome.message is None else translate.message(outcome.message),
        "usage": translate.usage(outcome.usage),
        "error": None if refusal is None else str(refusal),
    }
