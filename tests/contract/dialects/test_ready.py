"""Answers that are ready are the ordinary ones: every request is made of two servers over the same edge, one of which
never answers at once. Whatever happens to chat or key, both answer alike, byte for byte.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.dialects.pairs import Pair, etag, get, say, status, warm
from tests.contract.dialects.pairs import pair as pair
from tests.contract.dialects.speaking import NATIVE, SPEAKERS, Speaker


@pytest.mark.parametrize("speaker", SPEAKERS, ids=lambda speaker: speaker.name)
class TestEveryDialect:
    async def test_ready_answers_are_the_ordinary_ones(self, pair: Pair, speaker: Speaker) -> None:
        chat_id, request = await warm(pair, speaker)
        seen = etag(await pair.alike(request, at_once=True))
        conditional = get(speaker, chat_id, pair.world.owner, if_none_match=seen)
        assert status(await pair.alike(conditional, at_once=False)) == 304
        assert status(await pair.alike(conditional, at_once=True)) == 304
        assert status(await pair.alike(request, at_once=True)) == 200

    async def test_a_change_is_seen_by_the_next_request(self, pair: Pair, speaker: Speaker) -> None:
        chat_id, request = await warm(pair, speaker)
        old = await pair.alike(request, at_once=True)
        conditional = get(speaker, chat_id, pair.world.owner, if_none_match=etag(old))
        await pair.alike(conditional, at_once=False)
        await say(pair, chat_id)
        assert await pair.alike(request, at_once=False) != old
        assert status(await pair.alike(conditional, at_once=False)) == 200
        assert etag(await pair.alike(request, at_once=True)) != etag(old)

    async def test_a_deleted_chat_is_gone(self, pair: Pair, speaker: Speaker) -> None:
        chat_id, request = await warm(pair, speaker)
        await pair.world.native("DELETE", f"/chats/{chat_id}")
        assert status(await pair.alike(request, at_once=False)) >= 400
        assert status(await pair.alike(request, at_once=False)) >= 400

    async def test_strangers_are_told_nothing(self, pair: Pair, speaker: Speaker) -> None:
        stranger = await pair.world.organisation()
        chat_id, request = await warm(pair, speaker)
        assert status(await pair.alike(request, at_once=True)) == 200
        for _ in range(2):
            assert status(await pair.alike(get(speaker, chat_id, stranger), at_once=False)) >= 400

    async def test_a_revoked_key_is_refused_at_once(self, pair: Pair, speaker: Speaker) -> None:
        guest = await pair.world.person("admin")
        _, request = await warm(pair, speaker, guest)
        await pair.world.revoke(guest)
        refused = await pair.alike(request, at_once=False)
        assert status(refused) in (401, 403)
        assert await pair.alike(request, at_once=False) == refused


async def test_answers_are_ready_on_every_engine(pair: Pair) -> None:
    """Others may commit on the server of PostgreSQL at any time, but hardly between any two requests."""
    _, request = await warm(pair, NATIVE)
    async with asyncio.timeout(20):
        while not pair.watched.at_once:
            await pair.quick.ask(request)
