"""How the Lexicon dialect behaves in everything that is not a route."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated

from fastapi import Depends
from fastapi.openapi.models import APIKey, APIKeyIn

from chatkeep.dialects.lexicon import errors, wire
from chatkeep.services.context import Context
from chatkeep.web.credentials import bearer, header
from chatkeep.web.dialect import CallerOf, Manner

MANNER = Manner(
    name="lexicon",
    title="chatkeep for Lexicon Labs clients",
    description="Chats as api.lexiconlabs.ai serves them.",
    finders=(header("x-api-key"), header("x-tenant-api-secret"), bearer),
    write_error=errors.write_error,
    write_plain=errors.write_plain,
    error_model=wire.Error,
    requests_per_minute=attrgetter("lexicon_requests_per_minute"),
)
CREDENTIAL = CallerOf(
    MANNER,
    APIKey(
        **{"in": APIKeyIn.header},
        name="X-API-Key",
        description="The tenant's key; also `x-tenant-api-secret`.",
    ),
    "tenantKey",
)
Caller = Annotated[Context, Depends(CREDENTIAL)]
