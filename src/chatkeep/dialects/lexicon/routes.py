"""Lexicon's routes: create, get, list and delete chats, list a chat's messages."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Header, Path, Query, Request, Response

from chatkeep.dialects.lexicon import socket, translate, wire
from chatkeep.dialects.lexicon.manner import MANNER, Caller
from chatkeep.domain.chat import ChatThread
from chatkeep.domain.errors import NotFound
from chatkeep.domain.ids import ChatId, ModelId
from chatkeep.domain.message import Message
from chatkeep.domain.page import Slice
from chatkeep.services import chats, messages, models
from chatkeep.services.context import Context, Note
from chatkeep.web import dialect, etags
from chatkeep.web.answers import JsonAnswer, write
from chatkeep.web.dialect import Built, Hot, TheHouse, make_router
from chatkeep.web.house import House
from chatkeep.web.idempotency import Key, answer_of, claimed
from chatkeep.web.rendered import View, answer_chat

router = make_router()
VIEW = View(translate.NAME)
CREATED = 201
LIMIT_MAX = 100
OFFSET_MAX = 2**31 - 1
CHATS = "/api/v1/chats/"
CHAT = "/api/v1/chats/{chat_id}"
USER = "/api/v1/chats/user/{user_id}"
ChatPath = Annotated[str, Path(description="The chat's id.")]
UserPath = Annotated[str, Path(description="Your own id of the user.")]
Offset = Annotated[int, Query(ge=0, le=OFFSET_MAX, description="How many to pass over.")]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="How many at most.")]
Order = Annotated[Literal["asc", "desc"], Query(description="Oldest first, or newest first.")]
IfNoneMatch = Annotated[str | None, Header(description="Answer 304 if the chat still has this ETag.")]


@router.post(CHATS, status_code=CREATED, summary="Create Chat", responses={CREATED: {"model": wire.ChatOut}})
@router.post(CHATS.rstrip("/"), status_code=CREATED, include_in_schema=False)
async def create(body: wire.ChatIn, ctx: Caller, request: Request, idempotency_key: Key = None) -> Response:
    """Make a chat for one of your users. A user that is not known yet is made with it."""

    def note(thread: ChatThread) -> Note:
        location = f"{request.url.path.rstrip('/')}/{thread.chat.id}"
        headers = {"etag": etags.write(thread.chat.access), "location": location}
        return Note(thread.chat.id, (CREATED, _render(thread)), headers)

    claim = await claimed(ctx, request, note)
    return answer_of(note(await chats.create_for(claim, translate.new_chat(body), body.user_id)))


@router.get(USER, summary="List User Chats", responses={200: {"model": wire.ChatPage}})
async def list_chats(
    user_id: UserPath, ctx: Caller, offset: Offset = 0, limit: Limit = 50, order: Order = "desc"
) -> JsonAnswer:
    """The chats of one of your users, by when they were made. 404 for a user who has none."""
    found = await chats.list_of(ctx, user_id, newest_first=order == "desc", offset=offset, limit=limit)
    if not found.total:
        raise NotFound("User")
    return JsonAnswer(
        {"chats": [translate.chat(each) for each in found.items], **_place(found, offset, limit)}
    )


@router.get(CHAT, summary="Get Chat", responses={200: {"model": wire.ChatOut}, 304: {}})
async def get(
    chat_id: ChatPath, ctx: Caller, house: TheHouse, request: Request, if_none_match: IfNoneMatch = None
) -> Response:
    """One chat without its messages."""
    return await answer_get(house, ctx, request)


async def answer_get(house: House, ctx: Context, request: Request) -> Response:
    """`get` without FastAPI's layers."""
    return await answer_chat(house.rendered, ctx, request, VIEW, _render)


@router.get(f"{CHAT}/messages", summary="Get Chat Messages", responses={200: {"model": wire.MessagePage}})
async def list_messages(
    chat_id: ChatPath, ctx: Caller, offset: Offset = 0, limit: Limit = 50, order: Order = "asc"
) -> JsonAnswer:
    """What the user and the assistant said on the current path."""
    found = await messages.list_spoken(
        ctx, ChatId(chat_id), newest_first=order == "desc", offset=offset, limit=limit
    )
    names = await _model_names(ctx, found.items)
    said = [translate.message(each, names) for each in found.items]
    return JsonAnswer({"messages": said, **_place(found, offset, limit)})


@router.delete(CHAT, summary="Delete Chat", responses={200: {"model": wire.Deleted}})
async def delete(chat_id: ChatPath, ctx: Caller) -> JsonAnswer:
    """Delete a chat with its messages, for ever. 409 while WebSockets are open in it."""
    return JsonAnswer(translate.deleted(await chats.purge(ctx, ChatId(chat_id), is_unused=True)))


HOT = (Hot("GET", CHAT, answer_get),)


def build(house: House) -> Built:
    """The Lexicon application and its hot route."""
    return dialect.build(house, MANNER, [router, socket.router], HOT)


def _place(found: Slice[Any], offset: int, limit: int) -> wire.Place:
    has_more = offset + len(found.items) < found.total
    return {"total": found.total, "offset": offset, "limit": limit, "has_more": has_more}


def _render(thread: ChatThread) -> bytes:
    return write(translate.chat(thread.chat))


async def _model_names(ctx: Context, said: list[Message]) -> dict[ModelId, str]:
    names: dict[ModelId, str] = {}
    for model_id in {each.model_id for each in said if each.model_id is not None}:
        model = await models.find(ctx, model_id)
        if model is not None:
            names[model_id] = model.card.model_name or model.card.display_name
    return names
