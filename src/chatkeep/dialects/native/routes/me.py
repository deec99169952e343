"""Who calls."""

from __future__ import annotations

from chatkeep.dialects.native import translate, wire
from chatkeep.dialects.native.manner import Caller
from chatkeep.web.answers import JsonAnswer
from chatkeep.web.dialect import make_router

router = make_router()


@router.get("/me", summary="Who the credential stands for", responses={200: {"model": wire.MeOut}})
async def me(ctx: Caller) -> JsonAnswer:
    """The principal behind the credential, its role and what it may do."""
    return JsonAnswer(translate.me(ctx.principal))
