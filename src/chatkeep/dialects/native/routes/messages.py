"""Messages of a chat: append and list."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query, Request, Response
from pydantic import TypeAdapter, ValidationError

from chatkeep.dialects.native import translate, wire
from chatkeep.dialects.native.manner import Caller
from chatkeep.dialects.native.routes.chats import CREATED, ChatPath
from chatkeep.domain.ids import ChatId
from chatkeep.domain.message import Message
from chatkeep.services import messages
from chatkeep.services.context import Context, Note
from chatkeep.web.answers import JsonAnswer, write
from chatkeep.web.dialect import Hot, make_router
from chatkeep.web.faults import first_fault
from chatkeep.web.house import House
from chatkeep.web.idempotency import Key, claimed
from chatkeep.web.json import read_json

router = make_router()
Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]
_body: TypeAdapter[wire.MessagesIn] = TypeAdapter(wire.MessagesIn)


@router.post(
    "/chats/{chat_id}/messages",
    status_code=CREATED,
    summary="Append messages",
    responses={CREATED: {"model": wire.MessagesAppended}},
)
async def append(
    chat_id: ChatPath, body: wire.MessagesIn, ctx: Caller, request: Request, idempotency_key: Key = None
) -> Response:
    """Write messages, all or none, without asking a model. They are on disk when this answers."""
    return await _append(ctx, request, body)


async def answer_append(house: House, ctx: Context, request: Request) -> Response:
    """`append` without FastAPI's layers."""
    raw = await read_json(request, ctx.system.limits)
    try:
        body = _body.validate_python(raw)
    except ValidationError as error:
        raise first_fault(error) from None
    return await _append(ctx, request, body)


async def _append(ctx: Context, request: Request, body: wire.MessagesIn) -> Response:
    said = translate.new_messages(body.messages, ctx.principal.id)
    chat_id = ChatId(request.path_params["chat_id"])
    claim = await claimed(ctx, request, lambda written: Note(chat_id, (CREATED, _appended(written))))
    written = await messages.append(claim, chat_id, said)
    return Response(_appended(written), status_code=CREATED, media_type="application/json")


@router.get(
    "/chats/{chat_id}/messages", summary="List messages", responses={200: {"model": wire.MessagePage}}
)
async def list_messages(
    chat_id: ChatPath,
    ctx: Caller,
    branch: Literal["path", "all"] = "path",
    order: Literal["asc", "desc"] = "asc",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JsonAnswer:
    """Messages of the current path, or of all branches, oldest or newest first."""
    page = await messages.list_messages(
        ctx, ChatId(chat_id), branch=branch, direction=order, cursor=cursor, limit=limit
    )
    out: wire.MessagePage = {
        "items": [translate.message(each) for each in page.items],
        "next_cursor": page.next_cursor,
        "has_more": page.has_more,
    }
    return JsonAnswer(out)


HOT = (Hot("POST", "/chats/{chat_id}/messages", answer_append),)


def _appended(written: list[Message]) -> bytes:
    out: wire.MessagesAppended = {"items": [translate.message(each) for each in written]}
    return write(out)
