"""The caller's folders."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from chatkeep.dialects.native import translate, wire
from chatkeep.dialects.native.manner import Caller
from chatkeep.dialects.native.routes.chats import CREATED
from chatkeep.domain.ids import FolderId
from chatkeep.services import folders
from chatkeep.services.context import Note
from chatkeep.web.answers import JsonAnswer, write
from chatkeep.web.dialect import make_router
from chatkeep.web.idempotency import Key, claimed

router = make_router()
FolderPath = Annotated[str, Path(description="The folder's id.")]


@router.get("/folders", summary="List folders", responses={200: {"model": wire.FolderList}})
async def list_folders(ctx: Caller) -> JsonAnswer:
    """Your folders by name."""
    out: wire.FolderList = {"items": [translate.folder(each) for each in await folders.list_folders(ctx)]}
    return JsonAnswer(out)


@router.post(
    "/folders", status_code=CREATED, summary="Make a folder", responses={CREATED: {"model": wire.FolderOut}}
)
async def create(body: wire.FolderIn, ctx: Caller, request: Request, idempotency_key: Key = None) -> Response:
    """A folder of yours; its name is unique among them."""
    claim = await claimed(ctx, request, lambda folder: Note(None, (CREATED, write(translate.folder(folder)))))
    return JsonAnswer(translate.folder(await folders.create(claim, body.name)), status_code=CREATED)


@router.patch("/folders/{folder_id}", summary="Rename a folder", responses={200: {"model": wire.FolderOut}})
async def rename(folder_id: FolderPath, body: wire.FolderIn, ctx: Caller) -> JsonAnswer:
    """Give a folder another name."""
    return JsonAnswer(translate.folder(await folders.rename(ctx, FolderId(folder_id), body.name)))


@router.delete("/folders/{folder_id}", status_code=204, summary="Delete a folder", response_class=Response)
async def delete(folder_id: FolderPath, ctx: Caller) -> Response:
    """Remove a folder; its chats stay, outside of any folder."""
    await folders.delete(ctx, FolderId(folder_id))
    return Response(status_code=204)
