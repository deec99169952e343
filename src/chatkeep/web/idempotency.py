"""`Idempotency-Key`: the same key with the same request gives the same answer for 24 hours, and one effect."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Header
from starlette.requests import Request
from starlette.responses import Response

from chatkeep.domain.errors import InvalidField
from chatkeep.services.context import Claim, Context, Note
from chatkeep.store.idempotency import RequestKey

HEADER = "idempotency-key"
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The same key with the same request has one effect and one answer.",
        min_length=1,
        max_length=255,
        pattern="^[ -~]+$",
    ),
]
"""The header as a route declares it, so that it is in the OpenAPI document; `claimed` reads it from the request."""


def answer_of(note: Note) -> Response:
    """The JSON answer that is remembered, as it is given the first time."""
    assert note.answer is not None
    status, body = note.answer
    return Response(body, status_code=status, media_type="application/json", headers=dict(note.headers))


async def claimed(ctx: Context, request: Request, render: Callable[[Any], Note]) -> Context:
    """The context whose write happens once for the request's key; unchanged when the request has none.

    `render` turns what the write returns into what is to be remembered. Raises `InvalidField` for a malformed key.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return ctx
    longest = ctx.system.limits.idempotency_key_characters_max
    if not 1 <= len(key) <= longest or not key.isascii() or not key.isprintable():
        raise InvalidField("Idempotency-Key", f"must be 1 to {longest} printable ASCII characters")
    route = f"{request.method} {request.url.path}"
    fingerprint = hashlib.sha256(request.url.query.encode() + b"\n" + await request.body()).digest()
    return replace(ctx, claim=Claim(RequestKey(ctx.principal.id, route, key), fingerprint, render))
