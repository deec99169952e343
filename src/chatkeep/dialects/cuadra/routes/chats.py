"""Chats: list, get, change, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Path, Query, Request, Response
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import QueryParams

from chatkeep.dialects.cuadra import translate, wire
from chatkeep.dialects.cuadra.manner import Caller
from chatkeep.dialects.cuadra.routes.models import Cursor, Limit, found
from chatkeep.domain.chat import Chat, ChatFilter, ChatThread
from chatkeep.domain.errors import InvalidField
from chatkeep.domain.ids import ChatId
from chatkeep.domain.model import Model
from chatkeep.services import chats, models
from chatkeep.services.context import Context, Note
from chatkeep.web import etags
from chatkeep.web.answers import JsonAnswer, write
from chatkeep.web.dialect import Hot, house_of, make_router
from chatkeep.web.house import House
from chatkeep.web.idempotency import Key, answer_of, claimed
from chatkeep.web.rendered import JSON, View, answer_chat

router = make_router()
OK, DELETED = 200, 204
CHAT = "/v1/chats/{chat_id}"
EXPAND = "expand[]"
INCLUDE_DELETED = "includeDeleted"
ChatPath = Annotated[str, Path(description="The chat's id.")]
IfMatch = Annotated[str | None, Header(description="Only if the chat still has this ETag; else 412.")]
IfNoneMatch = Annotated[str | None, Header(description="Answer 304 if the chat still has this ETag.")]
IncludeDeleted = Annotated[
    bool,
    Query(
        alias=INCLUDE_DELETED, description="Also a deleted chat; needs `org:admin`. chatkeep's own extension."
    ),
]
Expand = Annotated[
    list[str] | None,
    Query(alias=EXPAND, description="What to include: `model`. Other values are passed over. Repeatable."),
]


@router.get("/v1/chats", summary="List chats", responses={OK: {"model": wire.ChatPage}})
async def list_chats(
    ctx: Caller, limit: Limit = 20, cursor: Cursor = None, expand: Expand = None
) -> JsonAnswer:
    """Your own chats, latest change first."""
    mine = ChatFilter(owner_id=ctx.principal.id)
    listing = await chats.list_chats(ctx, mine, cursor=cursor, limit=limit)
    items = listing.page.items
    first = await models.first(ctx) if any(each.model_id is None for each in items) else None
    answering = [translate.model_id(each, first) for each in items] if "model" in (expand or ()) else []
    known = await found(ctx, answering)
    out: wire.ChatPage = {
        "items": [translate.chat_item(each, models=known, first=first) for each in items],
        "nextCursor": listing.page.next_cursor,
        "hasMore": listing.page.has_more,
        "totalCount": listing.total_count,
    }
    return JsonAnswer(out)


@router.get(CHAT, summary="Get a chat", responses={OK: {"model": wire.ChatOut}, 304: {}})
async def get(
    chat_id: ChatPath,
    ctx: Caller,
    request: Request,
    expand: Expand = None,
    include_deleted: IncludeDeleted = False,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One chat with the messages of its current path. The ETag is its version."""
    return await answer_get(house_of(request), ctx, request)


async def answer_get(house: House, ctx: Context, request: Request) -> Response:
    """`get` without FastAPI's layers. A chat may name no model, and then tells who would answer: hence the stamp."""
    chat_id, asked = ChatId(request.path_params["chat_id"]), request.query_params
    is_expanded, with_deleted = "model" in asked.getlist(EXPAND), _flag(asked, INCLUDE_DELETED)
    if is_expanded or with_deleted:
        thread = await chats.read(ctx, chat_id, with_deleted=with_deleted)
        return await _afresh(ctx, thread, is_expanded=is_expanded)

    async def render(thread: ChatThread) -> bytes:
        first = None if thread.chat.model_id is not None else await models.first(ctx)
        return write(translate.chat(thread, model=None, first=first))

    return await answer_chat(
        house.rendered, ctx, request, View(translate.NAME, await models.stamp(ctx)), render
    )


@router.patch(CHAT, summary="Change a chat", responses={OK: {"model": wire.ChatOut}})
async def update(
    chat_id: ChatPath,
    body: wire.ChatPatch,
    ctx: Caller,
    request: Request,
    if_match: IfMatch = None,
    idempotency_key: Key = None,
) -> Response:
    """Change the fields you send; the others stay."""
    first = await models.first(ctx)

    def note(thread: ChatThread) -> Note:
        out = write(translate.chat(thread, model=None, first=first))
        return Note(thread.chat.id, (OK, out), _etag(thread.chat))

    claim = await claimed(ctx, request, note)
    thread = await chats.update_thread(
        claim, ChatId(chat_id), translate.changes(body), if_version=etags.versions_in(if_match)
    )
    return answer_of(note(thread))


@router.delete(CHAT, status_code=DELETED, summary="Delete a chat", response_class=Response)
async def delete(
    chat_id: ChatPath, ctx: Caller, request: Request, if_match: IfMatch = None, idempotency_key: Key = None
) -> Response:
    """Nobody reads it any more."""
    claim = await claimed(ctx, request, lambda _: Note(ChatId(chat_id), (DELETED, b"")))
    await chats.delete(claim, ChatId(chat_id), if_version=etags.versions_in(if_match))
    return Response(status_code=DELETED)


_bool = TypeAdapter(bool)
HOT = (Hot("GET", CHAT, answer_get),)


def _flag(asked: QueryParams, name: str) -> bool:
    try:
        return _bool.validate_python(asked.get(name, "false"))
    except ValidationError:
        raise InvalidField(name, "must be true or false") from None


async def _afresh(ctx: Context, thread: ChatThread, *, is_expanded: bool) -> Response:
    model = await _model(ctx, thread.chat)
    body = write(translate.chat(thread, model=model if is_expanded else None, first=model))
    return Response(
        body, media_type=JSON, headers={**_etag(thread.chat), "cache-control": "private, no-cache"}
    )


async def _model(ctx: Context, chat: Chat) -> Model | None:
    return await models.first(ctx) if chat.model_id is None else await models.find(ctx, chat.model_id)


def _etag(chat: Chat) -> dict[str, str]:
    # Without a model of its own the answer may change while the chat does not.
    return {} if chat.model_id is None else {"etag": etags.write(chat.access)}
