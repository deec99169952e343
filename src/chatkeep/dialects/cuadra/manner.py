"""How the Cuadra dialect behaves in everything that is not a route."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer

from chatkeep.dialects.cuadra import errors, wire
from chatkeep.services.context import Context
from chatkeep.web.credentials import bearer
from chatkeep.web.dialect import CallerOf, Manner

MANNER = Manner(
    name="cuadra",
    title="chatkeep for Cuadra AI clients",
    description="Chats as api.cuadra.ai serves them.",
    finders=(bearer,),
    write_error=errors.write_error,
    write_plain=errors.write_plain,
    error_model=wire.Problem,
    error_media_type=errors.PROBLEM,
)
CREDENTIAL = CallerOf(MANNER, HTTPBearer(description="Access token, session token or API key"), "bearerAuth")
Caller = Annotated[Context, Depends(CREDENTIAL)]
