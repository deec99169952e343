"""Access tokens for clients with credentials, and the keys that verify them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from chatkeep.dialects.cuadra import wire
from chatkeep.domain.errors import InvalidField
from chatkeep.services import credentials, tokens
from chatkeep.services.context import System
from chatkeep.web.answers import JsonAnswer
from chatkeep.web.dialect import TheHouse, make_router
from chatkeep.web.faults import first_fault
from chatkeep.web.json import read_json

router = make_router()
FORM = "application/x-www-form-urlencoded"
FIELDS_MAX = 20
NEVER_STORED = {"cache-control": "no-store", "pragma": "no-cache"}
SCHEMA = wire.TokenIn.model_json_schema()


@router.post(
    "/v1/oauth2/token",
    summary="Get an access token",
    responses={200: {"model": wire.TokenOut}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": SCHEMA}, FORM: {"schema": SCHEMA}},
        }
    },
)
async def token(request: Request, house: TheHouse) -> JsonAnswer:
    """An access token for client id and secret, for `Authorization: Bearer`. JSON or form."""
    system = house.system
    body = await _read(request, system)
    holder = await credentials.check_client(system, body.client_id, body.client_secret)
    issued = tokens.issue_access(system, holder)
    out: wire.TokenOut = {
        "access_token": issued.token,
        "token_type": "bearer",
        "expires_in": system.policy.access_token_s,
    }
    if body.scope is not None:  # RFC 6749 5.1: who asks for scopes is told which ones these are
        out["scope"] = " ".join(sorted(holder.principal().scopes))
    return JsonAnswer(out, headers=NEVER_STORED)


@router.get(
    "/.well-known/jwks.json",
    summary="Keys that verify access tokens",
    responses={200: {"model": wire.JsonWebKeys}},
)
async def keys(house: TheHouse) -> JsonAnswer:
    """The JSON Web Key Set of this server."""
    return JsonAnswer(tokens.public_keys(house.system))


async def _read(request: Request, system: System) -> wire.TokenIn:
    essence = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if essence == FORM:
        raw: Any = _form(await _body(request))
    else:
        raw = await read_json(request, system.limits)
    try:
        return wire.TokenIn.model_validate(raw)
    except ValidationError as error:
        raise first_fault(error) from None


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect:
        raise InvalidField("body", "is incomplete") from None  # nobody is left to read it


def _form(raw: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError:
        raise InvalidField("body", "is not a form in UTF-8") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise InvalidField("body", "has a field twice")
    return fields
