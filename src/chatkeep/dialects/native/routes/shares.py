"""Shares: frozen copies of chats."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from chatkeep.dialects.native import translate, wire
from chatkeep.dialects.native.manner import Caller
from chatkeep.dialects.native.routes.chats import ChatPath
from chatkeep.domain.ids import ChatId, ShareId
from chatkeep.services import shares
from chatkeep.services.context import Note
from chatkeep.web.answers import JsonAnswer, write
from chatkeep.web.dialect import make_router
from chatkeep.web.idempotency import Key, claimed

router = make_router()


@router.post("/chats/{chat_id}/share", summary="Share a chat", responses={200: {"model": wire.ShareOut}})
async def share(chat_id: ChatPath, ctx: Caller, request: Request, idempotency_key: Key = None) -> Response:
    """Freeze the chat as it is now under a share id; again keeps the id and takes a new snapshot."""
    claim = await claimed(ctx, request, lambda made: Note(made.chat_id, (200, write(translate.share(made)))))
    return JsonAnswer(translate.share(await shares.share(claim, ChatId(chat_id))))


@router.delete("/chats/{chat_id}/share", status_code=204, summary="Withdraw a share", response_class=Response)
async def unshare(chat_id: ChatPath, ctx: Caller) -> Response:
    """The share id stops working at once."""
    await shares.unshare(ctx, ChatId(chat_id))
    return Response(status_code=204)


@router.get("/shares/{share_id}", summary="Read a share", responses={200: {"model": wire.ShareOut}})
async def get(share_id: Annotated[str, Path(description="The share's id.")], ctx: Caller) -> JsonAnswer:
    """The frozen copy, for everybody in the organisation."""
    return JsonAnswer(translate.share(await shares.get(ctx, ShareId(share_id))))
