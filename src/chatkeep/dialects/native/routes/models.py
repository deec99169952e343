"""The model catalogue."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from chatkeep.dialects.native import translate, wire
from chatkeep.dialects.native.manner import Caller
from chatkeep.dialects.native.routes.chats import CREATED
from chatkeep.dialects.native.routes.messages import Cursor, Limit
from chatkeep.domain.ids import ModelId
from chatkeep.services import models
from chatkeep.services.context import Note
from chatkeep.web.answers import JsonAnswer, write
from chatkeep.web.dialect import make_router
from chatkeep.web.idempotency import Key, claimed

router = make_router()
ModelPath = Annotated[str, Path(description="The model's id.")]


@router.get("/models", summary="List models", responses={200: {"model": wire.ModelPage}})
async def list_models(ctx: Caller, limit: Limit = 50, cursor: Cursor = None) -> JsonAnswer:
    """The organisation's catalogue by id."""
    page = await models.list_models(ctx, cursor=cursor, limit=limit)
    out: wire.ModelPage = {
        "items": [translate.model_out(each) for each in page.items],
        "next_cursor": page.next_cursor,
        "has_more": page.has_more,
    }
    return JsonAnswer(out)


@router.post(
    "/models", status_code=CREATED, summary="Add a model", responses={CREATED: {"model": wire.ModelOut}}
)
async def create(body: wire.ModelIn, ctx: Caller, request: Request, idempotency_key: Key = None) -> Response:
    """A model of the organisation's own: another prompt over a model there is, or a provider's model by name."""
    claim = await claimed(
        ctx, request, lambda model: Note(None, (CREATED, write(translate.model_out(model))))
    )
    return JsonAnswer(
        translate.model_out(await models.create(claim, translate.card(body))), status_code=CREATED
    )


@router.get("/models/{model_id}", summary="Get a model", responses={200: {"model": wire.ModelOut}})
async def get(model_id: ModelPath, ctx: Caller) -> JsonAnswer:
    """One model."""
    return JsonAnswer(translate.model_out(await models.get(ctx, ModelId(model_id))))


@router.put("/models/{model_id}", summary="Change a model", responses={200: {"model": wire.ModelOut}})
async def update(model_id: ModelPath, body: wire.ModelIn, ctx: Caller) -> JsonAnswer:
    """Give a model another card; fields you leave out go back to their defaults."""
    return JsonAnswer(translate.model_out(await models.update(ctx, ModelId(model_id), translate.card(body))))


@router.delete("/models/{model_id}", status_code=204, summary="Delete a model", response_class=Response)
async def delete(model_id: ModelPath, ctx: Caller) -> Response:
    """Remove a model of the organisation's own."""
    await models.delete(ctx, ModelId(model_id))
    return Response(status_code=204)
