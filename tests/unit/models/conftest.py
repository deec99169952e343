"""A scripted upstream, and providers that ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chatkeep.models.openai_compatible import OpenAiCompatible, Timeouts
from tests.unit.models.hearing import KEY
from tests.upstream import ScriptedUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as running:
        yield running


@pytest.fixture
async def provider(upstream: ScriptedUpstream) -> AsyncIterator[OpenAiCompatible]:
    made = OpenAiCompatible("house", upstream.base_url, api_key=KEY)
    yield made
    await made.aclose()


@pytest.fixture
async def hasty(upstream: ScriptedUpstream) -> AsyncIterator[OpenAiCompatible]:
    made = OpenAiCompatible("house", upstream.base_url, timeouts=Timeouts(first_token_s=0.15, silence_s=0.15))
    yield made
    await made.aclose()
