"""Against a real HTTP server that plays scripts: what is streamed, how it fails, and that nothing is left open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from chatkeep.domain.errors import ProviderFailed
from chatkeep.domain.usage import Usage
from chatkeep.models.openai_compatible import OpenAiCompatible
from chatkeep.models.port import (
    Finished,
    ModelListing,
    Prompt,
    ReasoningDelta,
    TextDelta,
    Turn,
)
from tests.unit.models.hearing import KEY, PATIENCE_S, PROMPT, heard, heard_until_failure
from tests.upstream import DONE, Raw, Refusal, Script, ScriptedUpstream, finish_event, text_event, usage_event

# --- what is asked and what is given ---------------------------------------------------------------


async def test_an_answer_arrives_piece_by_piece_with_its_usage(
    upstream: ScriptedUpstream, provider: OpenAiCompatible
) -> None:
    upstream.play(Script(["Hel", "lo", " 😀"], usage=(11, 3)))
    assert await heard(provider) == [
        TextDelta("Hel"),
        TextDelta("lo"),
        TextDelta(" 😀"),
        Finished(Usage(11, 3), "stop"),
    ]


async def test_the_request_holds_the_prompt_and_the_key(
    upstream: ScriptedUpstream, provider: OpenAiCompatible
) -> None:
    await heard(provider)
    await heard(provider, Prompt("other", (Turn("user", "é\n"),), 17, 0.5))
    assert upstream.requests == [
        {
            "model": "scripted",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello there, model"},
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
        {
            "model": "other",
            "messages": [{"role": "user", "content": "é\n"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 17,
            "temperature": 0.5,
        },
    ]
    assert [headers["Authorization"] for headers in upstream.headers] == [f"Bearer {KEY}"] * 2


async def test_without_a_key_no_credential_is_sent(
    upstream: ScriptedUpstream, hasty: OpenAiCompatible
) -> None:
    await heard(hasty)
    assert "Authorization" not in upstream.headers[0]


async def test_an_unscripted_upstream_echoes(provider: OpenAiCompatible) -> None:
    pieces = await heard(provider)
    assert [piece.text for piece in pieces[:-1] if isinstance(piece, TextDelta)] == [
        "You ",
        "said: ",
        "Hello ",
        "there, ",
        "model",
    ]


async def test_a_piece_is_given_before_the_next_is_sent(
    upstream: ScriptedUpstream, provider: OpenAiCompatible
) -> None:
    upstream.play(Raw([text_event("one"), None, text_event("two"), None, finish_event(), DONE]))
    async with asyncio.timeout(PATIENCE_S), aclosing(provider.stream(PROMPT)) as pieces:
        assert await anext(pieces) == TextDelta("one")
        upstream.go_on()
        assert await anext(pieces) == TextDelta("two")
        upstream.go_on()
        assert await anext(pieces) == Finished(None, "stop")


async def test_bytes_may_be_split_anywhere(upstream: ScriptedUpstream, provider: OpenAiCompatible) -> None:
    wire = (
        b": welcome\r\n\r\n"
        + text_event("na").replace(b"\n", b"\r\n")
        + text_event("ïve 😀").replace(b"data: ", b"data:")
        + finish_event()
        + usage_event(1, 2)
        + DONE
    )
    upstream.play(Raw([wire[i : i + 3] for i in range(0, len(wire), 3)]))
    assert await heard(provider) == [TextDelta("na"), TextDelta("ïve 😀"), Finished(Usage(1, 2), "stop")]


async def test_reasoning_comes_apart_from_the_text(
    upstream: ScriptedUpstream, provider: OpenAiCompatible
) -> None:
    upstream.play(
        Script(["42"], reasoning=["hm", "m"], usage=None),
        Script(["42"], reasoning=["hm"], reasoning_field="reasoning", finish_reason="length"),
    )
    assert await heard(provider) == [
        ReasoningDelta("hm"),
        ReasoningDelta("m"),
        TextDelta("42"),
        Finished(None, "stop"),
    ]
    assert (await heard(provider))[-1] == Finished(Usage(7, 5), "length")
    assert upstream.disconnects == 0


async def test_output_is_cleaned(upstream: ScriptedUpstream, provider: OpenAiCompatible) -> None:
    upstream.play(Script(["a\0b", "\ud83d", "\ude00", "c\ude00d", "e\ud83d"]))
    assert await heard(provider) == [
        TextDelta("a\ufffdb"),
        TextDelta("😀"),
        TextDelta("c\ufffdd"),
        TextDelta("e"),
        TextDelta("\ufffd"),
        Finished(Usage(7, 5), "stop"),
    ]


async def test_many_answers_at_once_do_not_mix(provider: OpenAiCompatible) -> None:
    async def ask(number: int) -> str:
        pieces = await heard(provider, Prompt("m", (Turn("user", f"number {number}"),), None, None))
        return "".join(piece.text for piece in pieces if isinstance(piece, TextDelta))

    answers = await asyncio.gather(*map(ask, range(150)))  # more than aiohttp's default of 100 connections
    assert answers == [f"You said: number {number}" for number in range(150)]


# --- what is left behind ---------------------------------------------------------------------------


async def cancel_while_waiting(provider: OpenAiCompatible, upstream: ScriptedUpstream) -> None:
    task = asyncio.create_task(heard(provider))
    await upstream.until_requests()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancel_between_pieces(provider: OpenAiCompatible, upstream: ScriptedUpstream) -> None:
    has_piece = asyncio.Event()

    async def read_and_stall() -> None:
        async for _ in provider.stream(PROMPT):  # without aclosing, as a careless reader would
            has_piece.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(read_and_stall())
    await has_piece.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def close_generator(provider: OpenAiCompatible, upstream: ScriptedUpstream) -> None:
    pieces = provider.stream(PROMPT)
    assert await anext(pieces) == TextDelta("half")
    await pieces.aclose()


@pytest.mark.parametrize(
    ("leave", "script"),
    [
        (cancel_while_waiting, Script(failure="never_answers")),
        (cancel_while_waiting, Script(["half"], failure="silent")),
        (cancel_between_pieces, Script(["half"], failure="silent")),
        (close_generator, Script(["half"], failure="silent")),
    ],
)
async def test_leaving_closes_the_connection_upstream(
    upstream: ScriptedUpstream,
    provider: OpenAiCompatible,
    leave: Callable[[OpenAiCompatible, ScriptedUpstream], Awaitable[None]],
    script: Script,
) -> None:
    upstream.play(script)
    async with asyncio.timeout(PATIENCE_S):
        await leave(provider, upstream)
        await upstream.until_disconnects()


async def test_a_time_out_closes_the_connection_upstream(
    upstream: ScriptedUpstream, hasty: OpenAiCompatible
) -> None:
    upstream.play(Script(failure="never_answers"), Script(["half"], failure="silent"))
    await heard_until_failure(hasty)
    await heard_until_failure(hasty)
    async with asyncio.timeout(PATIENCE_S):
        await upstream.until_disconnects(2)


async def test_no_cookie_is_kept(upstream: ScriptedUpstream, provider: OpenAiCompatible) -> None:
    upstream.play(Refusal(500, headers={"Set-Cookie": "tenant=1; Path=/"}))
    await heard_until_failure(provider)
    await heard(provider)
    assert "Cookie" not in upstream.headers[1]


async def test_closing_twice_is_fine_and_a_later_call_opens_again(provider: OpenAiCompatible) -> None:
    await provider.aclose()
    await heard(provider)
    await provider.aclose()
    await provider.aclose()
    assert isinstance((await heard(provider))[-1], Finished)


# --- the listing -----------------------------------------------------------------------------------


async def test_the_listing_tells_context_windows_where_the_server_does(
    upstream: ScriptedUpstream, provider: OpenAiCompatible
) -> None:
    upstream.models = [
        {"id": "plain"},
        {"id": "router", "context_length": 131072},
        {"id": "vllm", "max_model_len": 4096},
        {"id": "fast", "context_window": 8192, "context_length": 1},
        {"id": "odd\0", "context_length": "long"},
        {"id": "priced", "pricing": {"prompt": "0.00000015", "completion": "0"}},
        {"name": "no id"},
        "no object",
    ]
    assert await provider.list_models() == [
        ModelListing("plain", None),
        ModelListing("router", 131072),
        ModelListing("vllm", 4096),
        ModelListing("fast", 8192),
        ModelListing("odd\ufffd", None),
        ModelListing("priced", None, "0.15", "0"),
    ]
    assert upstream.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_a_listing_that_is_none_is_a_failure(
    upstream: ScriptedUpstream, provider: OpenAiCompatible
) -> None:
    upstream.models = None
    with pytest.raises(ProviderFailed, match="house: the model listing has no data"):
        await provider.list_models()
    upstream.play(Refusal(403, f"not with {KEY}", "text/plain"))
    with pytest.raises(ProviderFailed, match=r"house: HTTP 403: not with \*\*\*"):
        await provider.list_models()
