"""The model catalogue, and the model a chat is shown with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import Path, Query

from chatkeep.dialects.cuadra import translate, wire
from chatkeep.dialects.cuadra.manner import Caller
from chatkeep.domain.ids import ModelId
from chatkeep.domain.model import Model
from chatkeep.services import models
from chatkeep.services.context import Context
from chatkeep.web.answers import JsonAnswer
from chatkeep.web.dialect import make_router

router = make_router()
Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=1000, description="`nextCursor` of the page before.")]
ModelPath = Annotated[str, Path(description="The model's id.")]


@router.get("/v1/models", summary="List models", responses={200: {"model": wire.ModelPage}})
async def list_models(ctx: Caller, limit: Limit = 20, cursor: Cursor = None) -> JsonAnswer:
    """The organisation's models by id."""
    page = await models.list_models(ctx, cursor=cursor, limit=limit)
    out: wire.ModelPage = {
        "items": [translate.model_out(each) for each in page.items],
        "nextCursor": page.next_cursor,
        "hasMore": page.has_more,
    }
    return JsonAnswer(out)


@router.get("/v1/models/{model_id}", summary="Get a model", responses={200: {"model": wire.ModelOut}})
async def get(model_id: ModelPath, ctx: Caller) -> JsonAnswer:
    """One model."""
    return JsonAnswer(translate.model_out(await models.get(ctx, ModelId(model_id))))


async def found(ctx: Context, wanted: Iterable[ModelId | None]) -> dict[ModelId, Model]:
    """Those of the models that are still in the catalogue, as they are now."""
    known = {}
    for model_id in {each for each in wanted if each is not None}:
        model = await models.find(ctx, model_id)
        if model is not None:
            known[model_id] = model
    return known
