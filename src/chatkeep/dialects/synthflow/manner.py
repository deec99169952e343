"""How the Synthflow dialect behaves in everything that is not a route."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer

from chatkeep.dialects.synthflow import errors, wire
from chatkeep.services.context import Context
from chatkeep.web.credentials import bearer
from chatkeep.web.dialect import CallerOf, Manner

MANNER = Manner(
    name="synthflow",
    title="chatkeep: Synthflow",
    description="Synthflow's chat API over one-prompt agents.",
    finders=(bearer,),
    write_error=errors.write_error,
    write_plain=errors.write_plain,
    error_model=wire.ErrorOut,
)
CREDENTIAL = CallerOf(MANNER, HTTPBearer(description="API key, session token or access token"), "sec0")
Caller = Annotated[Context, Depends(CREDENTIAL)]
