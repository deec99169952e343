"""POST /v1/chats: say something in a new chat or in one there is, and wait for the answer or read it as a stream."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import Header, Request, Response

from chatkeep.dialects.cuadra import errors, stream, translate, wire
from chatkeep.dialects.cuadra.manner import MANNER, Caller
from chatkeep.dialects.cuadra.routes.chats import OK
from chatkeep.domain.errors import InvalidField, NotFound, ProviderFailed
from chatkeep.domain.ids import ChatId, ModelId, is_id
from chatkeep.services import chats, models, runs
from chatkeep.services.context import Answer, Context, Note
from chatkeep.services.generating import Outcome, StartedRun
from chatkeep.web import sse
from chatkeep.web.answers import JsonAnswer
from chatkeep.web.dialect import TheHouse, make_router, rechecking
from chatkeep.web.idempotency import Key, claimed

router = make_router()
StreamFormat = Annotated[
    str | None,
    Header(alias="X-Stream-Format", description="Not served yet; leave it out for the native stream."),
]


@router.post(
    "/v1/chats",
    summary="Create or continue a chat",
    responses={OK: {"model": wire.Completion, "content": {"text/event-stream": {}}}},
)
async def complete(
    body: wire.ChatIn,
    ctx: Caller,
    house: TheHouse,
    request: Request,
    stream_format: StreamFormat = None,
    idempotency_key: Key = None,
) -> Response:
    """Append `messages` and answer. They are on disk before the model is called, and the answer is generated and kept
    also when you go away. With `stream`, events as in the native format, then `[DONE]`.
    """
    if stream_format is not None:
        raise InvalidField("X-Stream-Format", "is not served yet; leave the header out for the native stream")
    house.runner.check_open()

    def location(started: StartedRun) -> dict[str, str]:
        return {"location": f"{request.url.path}/{started.run.chat_id}"}

    claim = await claimed(ctx, request, lambda started: Note(started.run.chat_id, headers=location(started)))
    live = house.runner.begin(await _start(claim, body))
    headers = location(live.started)
    if body.stream:
        offer = sse.offering(request, stream.piece)
        journal = house.tail.run(ctx, live, recheck=rechecking(MANNER, request), offer=offer)
        return sse.stream(stream.events(live, journal), headers=headers)
    response = _respond(await live.outcome())
    response.headers.update(headers)
    return response


async def _start(ctx: Context, body: wire.ChatIn) -> StartedRun:
    ctx.principal.require("chat:invoke")
    settle = _settle_stream if body.stream else _settle
    wish = replace(translate.wish(body), settle=settle)
    said = translate.new_messages(body, ctx.principal.id)
    await _check_model(ctx, wish.model_id)
    if body.chat_id is None:
        new = translate.new_chat(body, ephemeral_ttl_s=ctx.system.policy.ephemeral_ttl_s)
        return await runs.start_chat(ctx, new, said, wish)
    chat_id = ChatId(body.chat_id)
    if body.ephemeral:
        await _check_ephemeral(ctx, chat_id)
    return await runs.start(ctx, chat_id, said, wish)


async def _check_model(ctx: Context, model_id: ModelId | None) -> None:
    if model_id is not None and (not is_id(model_id) or await models.find(ctx, model_id) is None):
        raise NotFound(models.NOUN)


async def _check_ephemeral(ctx: Context, chat_id: ChatId) -> None:
    found = await chats.peek(ctx, chat_id, scope="chat:invoke")
    if found.expires_at is None:
        raise InvalidField("ephemeral", "this chat is kept; only a new one can be ephemeral")


def _respond(outcome: Outcome) -> Response:
    if outcome.error is not None:
        return errors.write_error(ProviderFailed(outcome.error), "POST")
    if outcome.message is None:  # the chat was deleted for good while the model spoke
        return errors.write_error(NotFound("Chat"), "POST")
    out: wire.Completion = {
        "id": outcome.run.chat_id,
        "message": translate.message(outcome.message),
        "usage": translate.usage(outcome.usage),
    }
    return JsonAnswer(out)


def _settle(outcome: Outcome) -> Answer:
    response = _respond(outcome)
    return response.status_code, bytes(response.body)


def _settle_stream(outcome: Outcome) -> Answer:
    return OK, stream.replay(outcome)
