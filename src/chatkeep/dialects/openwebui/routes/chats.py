"""Chats: store one as a whole, get it, delete it for ever. `/api/chats` is the address on the seed's page."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Path, Request, Response

from chatkeep.dialects.openwebui import errors, history, translate, wire
from chatkeep.dialects.openwebui.manner import Caller
from chatkeep.dialects.openwebui.translate import Names
from chatkeep.domain.chat import ChatThread, NewChat
from chatkeep.domain.errors import InvalidField, NotFound
from chatkeep.domain.ids import ChatId, ModelId, PrincipalId, is_id
from chatkeep.domain.principal import Principal
from chatkeep.services import chats, folders, models, people
from chatkeep.services.context import Context, Note
from chatkeep.web.answers import JsonAnswer, write
from chatkeep.web.dialect import Hot, TheHouse, make_router
from chatkeep.web.house import House
from chatkeep.web.idempotency import Key, claimed
from chatkeep.web.rendered import JSON, View, answer_chat

router = make_router()
CHATS = "/api/v1/chats"
SEEDS = "/api/chats"
PREFIXES = (CHATS, SEEDS)
NEVER_IDS = frozenset(
    {"all", "archived", "config", "folder", "list", "pinned", "search", "share", "shared", "stats"}
)
"""Words of the vendor's lists. Clients that ask for one shall hear that it is not there, not that they must sign in."""
VARY = {"vary": "authorization, x-api-key, cookie"}
ChatPath = Annotated[str, Path(description="The chat's id.")]
IfNoneMatch = Annotated[str | None, Header(description="Answer 304 if the chat still has this ETag.")]


@router.post(f"{CHATS}/new", summary="Store a chat", responses={200: {"model": wire.ChatOut}})
@router.post(f"{SEEDS}/new", include_in_schema=False)
async def create(
    body: wire.NewChatIn, ctx: Caller, request: Request, idempotency_key: Key = None
) -> Response:
    """Store a whole chat with its tree of messages. Every key of `chat` comes back."""
    known = await _known_models(ctx, history.named_models(body.chat))
    author = history.Author(ctx.principal.id, frozenset(known))
    posted = history.read_messages(body.chat, author)
    model_id = translate.first_model(body.chat, known) or await _first_model(ctx)
    new = translate.new_chat(body, posted, model_id)
    claim = await claimed(ctx, request, lambda thread: Note(thread.chat.id, (200, _created(thread))))
    thread = await _create(claim, new, posted)
    return Response(_created(thread), media_type=JSON)


@router.get(f"{CHATS}/{{chat_id}}", summary="Get a chat", responses={200: {"model": wire.ChatOut}, 304: {}})
@router.get(f"{CHATS}/{{chat_id}}/", include_in_schema=False)
@router.get(
    f"{SEEDS}/{{chat_id}}", summary="Get a chat (as on the seed)", responses={200: {"model": wire.ChatOut}}
)
@router.get(f"{SEEDS}/{{chat_id}}/", include_in_schema=False)
async def get(
    chat_id: ChatPath, ctx: Caller, house: TheHouse, request: Request, if_none_match: IfNoneMatch = None
) -> Response:
    """One chat with its whole tree, also what is being generated. `chat.share_mode` tells whether you may write."""
    return await answer_get(house, ctx, request)


async def answer_get(house: House, ctx: Context, request: Request) -> Response:
    """`get` without FastAPI's layers."""
    chat_id = ChatId(request.path_params["chat_id"])
    if chat_id in NEVER_IDS:
        raise errors.NotServed()

    async def render(thread: ChatThread) -> bytes:
        return await _read(ctx, thread)

    view = View(_view(ctx.principal), await models.stamp(ctx), VARY)
    return await answer_chat(house.rendered, ctx, request, view, render)


@router.delete(f"{CHATS}/{{chat_id}}", summary="Delete a chat", response_model=bool)
@router.delete(f"{SEEDS}/{{chat_id}}", summary="Delete a chat (beside the seed)", response_model=bool)
async def delete(chat_id: ChatPath, ctx: Caller) -> Response:
    """Delete a chat with all that is its, for ever."""
    await chats.purge(ctx, ChatId(chat_id))
    return JsonAnswer(True)


HOT = tuple(Hot("GET", f"{prefix}/{{chat_id}}{end}", answer_get) for prefix in PREFIXES for end in ("", "/"))


async def _create(ctx: Context, new: NewChat, posted: history.PostedMessages) -> ChatThread:
    try:
        return await chats.create(ctx, new, posted.said, head=posted.head)
    except InvalidField as error:
        if error.field == "folder_id":
            raise NotFound(folders.NOUN) from None
        raise translate.located(error, posted) from None


def _created(thread: ChatThread) -> bytes:
    return write(translate.chat(thread, Names()))


async def _read(ctx: Context, thread: ChatThread) -> bytes:
    out = translate.chat(thread, await _names(ctx, thread))
    may_write = "chat:write" in ctx.principal.scopes and thread.chat.access.is_managed_by(ctx.principal)
    out["chat"]["share_mode"] = "continue" if may_write else None
    return write(out)


def _view(caller: Principal) -> str:
    """Who gets the same bytes: all who may only read, all administrators, each other person alone."""
    if "chat:write" not in caller.scopes:
        return "openwebui reader"
    return "openwebui administrator" if caller.is_administrator else f"openwebui {caller.id}"


async def _names(ctx: Context, thread: ChatThread) -> Names:
    people_there, models_there = translate.unnamed(thread)
    called: dict[PrincipalId, str] = {}
    for principal_id in people_there:
        try:
            called[principal_id] = (await people.get(ctx, principal_id)).name
        except NotFound:
            continue  # An account that is gone has no name any more.
    known = {model_id: await models.find(ctx, model_id) for model_id in models_there}
    return Names(
        called, {model_id: each.card.display_name for model_id, each in known.items() if each is not None}
    )


async def _known_models(ctx: Context, named: set[str]) -> dict[str, ModelId]:
    known: dict[str, ModelId] = {}
    for name in named:
        if is_id(name) and await models.find(ctx, ModelId(name)) is not None:
            known[name] = ModelId(name)
    return known


async def _first_model(ctx: Context) -> ModelId | None:
    model = await models.first(ctx)
    return model.id if model is not None and model.can_answer else None
