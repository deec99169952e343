"""However an answer comes from the model and whoever listens when: the tokens of a socket are the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.flows.lexicon_client import make
from tests.flows.lexicon_socket import Sockets, sockets_of
from tests.upstream import Script
from tests.world import World

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
CHUNKS = st.lists(TEXT, min_size=1, max_size=12).filter(lambda chunks: bool("".join(chunks).strip()))


async def heard(sockets: Sockets, chat_id: str, stays: int) -> tuple[list[str], dict[str, Any]]:
    """The tokens of an answer to one who leaves after so many frames and comes back, and its last frame."""
    tokens: list[str] = []
    after = 0
    while True:
        async with sockets.visit(chat_id, "listener", after=after) as visitor:
            for _ in range(stays):
                frame = await visitor.next()
                assert frame["event_type"] != "error", visitor.seen
                after = frame.get("seq", after)
                if frame["event_type"] == "message_stream_token":
                    tokens.append(frame["token"])
                if frame["event_type"] == "message_stream_ended":
                    return tokens, frame


@pytest.mark.sqlite
async def test_tokens_are_the_answer(world: World) -> None:
    async with sockets_of(world) as sockets:

        async def story(chunks: list[str], delay_s: float, stays: list[int]) -> None:
            chat = await make(world)
            world.upstream.play(Script(chunks, delay_s=delay_s))
            async with sockets.visit(chat["id"]) as asker:
                await asker.next()
                listening = [asyncio.create_task(heard(sockets, chat["id"], each + 3)) for each in stays]
                await asker.say("Q")
                frames = await asker.until("message_stream_ended")
                tokens = [each["token"] for each in frames if each["event_type"] == "message_stream_token"]
                assert "".join(tokens) == frames[-1]["content"] == "".join(chunks)
                for found, last in await asyncio.gather(*listening):
                    assert "".join(found) == last["content"] == "".join(chunks)

        loop = asyncio.get_running_loop()

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        @given(CHUNKS, st.sampled_from([0.0, 0.002, 0.02]), st.lists(st.integers(0, 5), max_size=3))
        def stories(chunks: list[str], delay_s: float, stays: list[int]) -> None:
            asyncio.run_coroutine_threadsafe(story(chunks, delay_s, stays), loop).result(60)

        await asyncio.to_thread(stories)
