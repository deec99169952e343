"""Chats: create, list, get, change, delete, restore."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Header, Path, Query, Request, Response

from chatkeep.dialects.native import translate, wire
from chatkeep.dialects.native.manner import Caller
from chatkeep.domain.chat import Chat, ChatFilter, ChatThread
from chatkeep.domain.errors import InvalidField
from chatkeep.domain.ids import ChatId, FolderId, ModelId, PrincipalId, is_id
from chatkeep.domain.model import Model
from chatkeep.services import chats, models
from chatkeep.services.context import Context, Note
from chatkeep.web import etags
from chatkeep.web.answers import JsonAnswer, write
from chatkeep.web.dialect import Hot, TheHouse, make_router
from chatkeep.web.house import House
from chatkeep.web.idempotency import Key, answer_of, claimed
from chatkeep.web.rendered import View, answer_chat

router = make_router()
VIEW = View("native")
CREATED = 201
ChatPath = Annotated[str, Path(description="The chat's id.")]
IfMatch = Annotated[str | None, Header(description="Only if the chat still has this ETag; else 412.")]
IfNoneMatch = Annotated[str | None, Header(description="Answer 304 if the chat still has this ETag.")]
Expand = Annotated[
    list[Literal["messages", "model"]] | None,
    Query(description="What to include: `messages` (the default) and `model`. Repeatable."),
]
DEFAULT_EXPAND = frozenset({"messages"})


@router.post(
    "/chats", status_code=CREATED, summary="Create a chat", responses={CREATED: {"model": wire.ChatFull}}
)
async def create(
    ctx: Caller, request: Request, body: wire.ChatIn = wire.ChatIn(), idempotency_key: Key = None
) -> Response:
    """Make a chat, with messages if you have some already, in one transaction."""
    said = translate.new_messages(body.messages, ctx.principal.id)

    def note(thread: ChatThread) -> Note:
        headers = {"etag": _etag(thread), "location": f"{request.url.path}/{thread.chat.id}"}
        return Note(thread.chat.id, (CREATED, _full(thread, None, DEFAULT_EXPAND)), headers)

    claim = await claimed(ctx, request, note)
    return answer_of(note(await chats.create(claim, translate.new_chat(body), said)))


@router.get("/chats", summary="List chats", responses={200: {"model": wire.ChatPage}})
async def list_chats(ctx: Caller, chosen: Annotated[wire.ChatQuery, Query()]) -> JsonAnswer:
    """Chats by latest change, newest first. `owner` is `me`, `any` (all you may read) or a person's id."""
    found = await chats.list_chats(ctx, _filter(ctx, chosen), cursor=chosen.cursor, limit=chosen.limit)
    out: wire.ChatPage = {
        "items": [translate.chat(each) for each in found.page.items],
        "next_cursor": found.page.next_cursor,
        "has_more": found.page.has_more,
        "total_count": found.total_count,
    }
    return JsonAnswer(out)


@router.get("/chats/{chat_id}", summary="Get a chat", responses={200: {"model": wire.ChatFull}, 304: {}})
async def get(
    chat_id: ChatPath,
    ctx: Caller,
    house: TheHouse,
    request: Request,
    expand: Expand = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One chat with the messages of its current path. The ETag is its version."""
    return await answer_get(house, ctx, request)


async def answer_get(house: House, ctx: Context, request: Request) -> Response:
    """GET one chat; the model is looked up afresh each time, so an expanded answer is not kept."""
    asked = request.query_params.getlist("expand") if request.scope["query_string"] else ()
    expand = frozenset(asked) if asked else DEFAULT_EXPAND
    if not expand <= {"messages", "model"}:
        raise InvalidField("expand", "must be 'messages' or 'model'")
    if "model" not in expand:
        return await answer_chat(
            house.rendered, ctx, request, VIEW, lambda thread: _full(thread, None, expand)
        )
    thread = await chats.read(ctx, ChatId(request.path_params["chat_id"]))
    model = await _model(ctx, thread.chat.model_id)
    return Response(
        _full(thread, model, expand), media_type="application/json", headers={"etag": _etag(thread)}
    )


@router.patch("/chats/{chat_id}", summary="Change a chat", responses={200: {"model": wire.ChatOut}})
async def update(
    chat_id: ChatPath, body: wire.ChatPatch, ctx: Caller, if_match: IfMatch = None
) -> JsonAnswer:
    """Change the fields you send; the others stay."""
    changed = await chats.update(
        ctx, ChatId(chat_id), translate.changes(body), if_version=etags.versions_in(if_match)
    )
    return JsonAnswer(translate.chat(changed), headers={"etag": etags.write(changed.access)})


@router.delete("/chats/{chat_id}", status_code=204, summary="Delete a chat", response_class=Response)
async def delete(chat_id: ChatPath, ctx: Caller, if_match: IfMatch = None) -> Response:
    """Nobody reads it any more; `restore` brings it back."""
    await chats.delete(ctx, ChatId(chat_id), if_version=etags.versions_in(if_match))
    return Response(status_code=204)


@router.post(
    "/chats/{chat_id}/restore", summary="Restore a deleted chat", responses={200: {"model": wire.ChatOut}}
)
async def restore(chat_id: ChatPath, ctx: Caller, request: Request, idempotency_key: Key = None) -> Response:
    """Undo a delete."""

    def note(chat: Chat) -> Note:
        return Note(chat.id, (200, write(translate.chat(chat))), {"etag": etags.write(chat.access)})

    claim = await claimed(ctx, request, note)
    return answer_of(note(await chats.restore(claim, ChatId(chat_id))))


HOT = (Hot("GET", "/chats/{chat_id}", answer_get),)


def _full(thread: ChatThread, model: Model | None, expand: frozenset[str]) -> bytes:
    return write(translate.full_chat(thread, model, expand))


def _etag(thread: ChatThread) -> str:
    return etags.write(thread.chat.access)


async def _model(ctx: Context, model_id: ModelId | None) -> Model | None:
    return None if model_id is None else await models.find(ctx, model_id)


def _filter(ctx: Context, chosen: wire.ChatQuery) -> ChatFilter:
    owner = {"me": ctx.principal.id, "any": None}.get(chosen.owner, PrincipalId(chosen.owner))
    for name in ("owner", "folder_id", "model_id"):
        value = getattr(chosen, name)
        if value is not None and not is_id(value):
            raise InvalidField(name, "is not an id")
    return ChatFilter(
        owner_id=owner,
        archived=chosen.archived,
        pinned=chosen.pinned,
        folder_id=None if chosen.folder_id is None else FolderId(chosen.folder_id),
        tag=chosen.tag,
        model_id=None if chosen.model_id is None else ModelId(chosen.model_id),
        dialect=chosen.dialect,
        is_deleted=chosen.deleted,
    )
