"""How the native dialect behaves in everything that is not a route."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer

from chatkeep.dialects.native import errors, wire
from chatkeep.services.context import Context
from chatkeep.web.credentials import bearer
from chatkeep.web.dialect import CallerOf, Manner

MANNER = Manner(
    name="native",
    title="chatkeep",
    description="chatkeep's own API: everything a chat has.",
    finders=(bearer,),
    write_error=errors.write_error,
    write_plain=errors.write_plain,
    error_model=wire.Problem,
    error_media_type=errors.PROBLEM,
)
CREDENTIAL = CallerOf(MANNER, HTTPBearer(description="API key, session token or access token"), "bearer")
Caller = Annotated[Context, Depends(CREDENTIAL)]
