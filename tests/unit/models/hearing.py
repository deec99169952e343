"""Hearing what a provider says, to its end or to its failure."""

from __future__ import annotations

import asyncio

import pytest

from chatkeep.domain.errors import ProviderFailed
from chatkeep.models.port import (
    Piece,
    Prompt,
    Provider,
    Turn,
)

KEY = "sk-very-secret-0123456789"
PROMPT = Prompt("scripted", (Turn("system", "Be brief."), Turn("user", "Hello there, model")), None, None)
# Long enough for anything on a busy machine, so that a broken promise is a failed test and not a hanging one.
PATIENCE_S = 10.0


async def heard(provider: Provider, prompt: Prompt = PROMPT) -> list[Piece]:
    return [piece async for piece in provider.stream(prompt)]


async def heard_until_failure(provider: Provider) -> tuple[list[Piece], str]:
    pieces: list[Piece] = []

    async def read() -> None:
        async for piece in provider.stream(PROMPT):
            pieces.append(piece)  # noqa: PERF401 - what came before the failure is to be seen

    with pytest.raises(ProviderFailed) as failure:
        await asyncio.wait_for(read(), PATIENCE_S)
    return pieces, str(failure.value)
