"""Against a real HTTP server that misbehaves: each trouble is one error, in time, and without a secret."""

from __future__ import annotations

import asyncio
import socket

import pytest

from chatkeep.domain.errors import ProviderFailed
from chatkeep.domain.usage import Usage
from chatkeep.models.openai_compatible import OpenAiCompatible, Timeouts
from chatkeep.models.port import (
    Finished,
    TextDelta,
)
from tests.unit.models.hearing import KEY, PROMPT, heard, heard_until_failure
from tests.upstream import DONE, Raw, Refusal, Script, ScriptedUpstream, finish_event, text_event, usage_event


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (Script(["half"], failure="cut"), "house: the upstream broke the connection"),
        (Script(["half"], failure="garbage"), "house: not JSON: {this is not json"),
        (Script(["half"], failure="error_chunk"), "house: upstream error: the model fell over"),
        (Script(["half"], failure="no_finish"), "house: the stream ended before the answer did"),
        (Script(["half"], failure="silent"), "house: nothing more within 0.15 s"),
        (
            Raw([text_event("half") + b"data: " + b"x" * 1_100_000]),
            "house: an event of more than 1048576 bytes",
        ),
        (Raw([text_event("half") + b"data: 42\n\n"]), "house: a chunk that is not an object"),
    ],
    ids=lambda value: value.failure or "done" if isinstance(value, Script) else None,
)
async def test_a_broken_stream_is_one_error_after_what_was_said(
    upstream: ScriptedUpstream, hasty: OpenAiCompatible, script: Script | Raw, sentence: str
) -> None:
    upstream.play(script)
    assert await heard_until_failure(hasty) == ([TextDelta("half")], sentence)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(Script(["late"], failure="never_answers"), id="no head"),
        pytest.param(Raw([None]), id="no event"),
        pytest.param(Raw([text_event(""), None]), id="no text"),
    ],
)
async def test_the_first_token_has_its_time(
    upstream: ScriptedUpstream, hasty: OpenAiCompatible, script: Script | Raw
) -> None:
    upstream.play(script)
    pieces, sentence = await heard_until_failure(hasty)
    assert pieces == []
    assert sentence == "house: no first token within 0.15 s"


async def test_silence_has_its_own_time_after_the_first_token(upstream: ScriptedUpstream) -> None:
    provider = OpenAiCompatible("house", upstream.base_url, timeouts=Timeouts(silence_s=0.15))
    upstream.play(Script(["a", "b"], failure="silent"))
    pieces, sentence = await heard_until_failure(provider)
    assert pieces == [TextDelta("a"), TextDelta("b")]
    assert sentence == "house: nothing more within 0.15 s"
    await provider.aclose()


async def test_closing_fails_the_answers_under_way(
    upstream: ScriptedUpstream, provider: OpenAiCompatible
) -> None:
    upstream.play(Script(["a"], failure="silent"))
    pieces = provider.stream(PROMPT)
    assert await anext(pieces) == TextDelta("a")
    await provider.aclose()
    with pytest.raises(ProviderFailed, match="house: the upstream broke the connection"):
        await anext(pieces)


async def test_closing_fails_the_answers_that_are_waited_for(
    upstream: ScriptedUpstream, provider: OpenAiCompatible
) -> None:
    upstream.play(Script(failure="never_answers"), Script(["a"], failure="silent"))
    failures = asyncio.gather(heard_until_failure(provider), heard_until_failure(provider))
    await upstream.until_requests(2)
    await provider.aclose()
    for pieces, sentence in await failures:
        assert pieces in ([], [TextDelta("a")])
        assert sentence == "house: the upstream broke the connection"


async def test_comments_do_not_pass_for_an_answer(
    upstream: ScriptedUpstream, hasty: OpenAiCompatible
) -> None:
    async def keep_alive() -> None:
        while True:
            upstream.go_on()
            await asyncio.sleep(0.03)

    upstream.play(Raw([b": still here\n\n", None] * 1000), Raw([text_event("a"), *[b":\n\n", None] * 1000]))
    keeping_alive = asyncio.create_task(keep_alive())
    assert await heard_until_failure(hasty) == ([], "house: no first token within 0.15 s")
    assert await heard_until_failure(hasty) == ([TextDelta("a")], "house: nothing more within 0.15 s")
    keeping_alive.cancel()


async def test_a_slow_reader_is_not_a_silent_upstream(
    upstream: ScriptedUpstream, hasty: OpenAiCompatible
) -> None:
    upstream.play(Script(["a", "b", "c"]))
    pieces = []
    async for piece in hasty.stream(PROMPT):
        pieces.append(piece)
        await asyncio.sleep(0.2)  # longer than the silence that is allowed
    assert pieces == [TextDelta("a"), TextDelta("b"), TextDelta("c"), Finished(Usage(7, 5), "stop")]


@pytest.mark.parametrize(
    "end",
    [
        pytest.param([], id="the stream just ends"),
        pytest.param([None], id="the upstream falls silent"),
        pytest.param([usage_event(1, 1)[:9]], id="half an event"),
        pytest.param([b"data: {garbage\n\n", DONE], id="garbage"),
    ],
)
async def test_a_whole_answer_is_not_lost_to_what_comes_after_it(
    upstream: ScriptedUpstream, hasty: OpenAiCompatible, end: list[bytes | None]
) -> None:
    upstream.play(Raw([text_event("all") + finish_event(), *end]))
    assert await heard(hasty) == [TextDelta("all"), Finished(None, "stop")]


@pytest.mark.parametrize("key_place", [0, 195, 5000])
async def test_a_refusal_is_short_and_never_holds_the_key(
    upstream: ScriptedUpstream, provider: OpenAiCompatible, key_place: int
) -> None:
    body = "x" * key_place + f"no such key:\n {KEY} " + "y" * 100_000
    upstream.play(Refusal(401, body, "text/plain"))
    pieces, sentence = await heard_until_failure(provider)
    assert pieces == []
    assert sentence.startswith("house: HTTP 401: ")
    assert len(sentence) <= len("house: HTTP 401: ") + 200
    assert not any(KEY[:length] in sentence for length in range(4, len(KEY) + 1))


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (Refusal(429, '{"error": "slow\\ndown"}'), 'house: HTTP 429: {"error": "slow\\ndown"}'),
        (Refusal(500), "house: HTTP 500"),
        (Refusal(200, "<h1>Welcome</h1>", "text/html"), "house: text/html instead of an event stream: <h1>"),
        (Refusal(200, '{"choices": []}'), "house: application/json instead of an event stream: "),
        (Refusal(307, "", headers={"Location": "/v1/chat/completions"}), "house: HTTP 307"),
    ],
)
async def test_any_other_answer_is_a_failure(
    upstream: ScriptedUpstream, provider: OpenAiCompatible, refusal: Refusal, sentence: str
) -> None:
    upstream.play(refusal)
    assert (await heard_until_failure(provider))[1].startswith(sentence)
    assert len(upstream.requests) == 1  # a redirect is not followed


async def test_an_error_in_the_stream_never_holds_the_key(
    upstream: ScriptedUpstream, provider: OpenAiCompatible
) -> None:
    upstream.play(Raw([b'data: {"error": {"message": "bad key ' + KEY.encode() + b'"}}\n\n']))
    assert await heard_until_failure(provider) == ([], "house: upstream error: bad key ***")


async def test_nobody_listening_is_a_failure_without_the_address() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound but not listening: the port is refused, and nobody else takes it
        provider = OpenAiCompatible("house", f"http://127.0.0.1:{bound.getsockname()[1]}/v1")
        assert await heard_until_failure(provider) == (
            [],
            "house: no connection to the upstream: Connection refused",
        )
        await provider.aclose()


async def test_connecting_has_its_time() -> None:
    # A queue of one that is full: Linux then drops what knocks, like a machine that is off.
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for knocking in (first, second):
            knocking.setblocking(False)
            knocking.connect_ex(deaf.getsockname())
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        provider = OpenAiCompatible("house", address, timeouts=Timeouts(connect_s=0.1))
        assert await heard_until_failure(provider) == ([], "house: no connection within 0.1 s")
        await provider.aclose()


@pytest.mark.parametrize(
    ("base_url", "sentence"),
    [
        ("http://", "house: the upstream's address is not a URL"),
        ("not a url", "house: the upstream's address is not a URL"),
        ("ftp://127.0.0.1/v1", "house: the upstream's address is not a URL"),
    ],
)
async def test_an_address_that_is_none_is_a_failure(base_url: str, sentence: str) -> None:
    provider = OpenAiCompatible("house", base_url)
    assert await heard_until_failure(provider) == ([], sentence)
    await provider.aclose()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n", "house: the upstream does not speak HTTP"),
        (b"", "house: the upstream broke the connection"),
        (b"HTTP/1.1 200 OK\r\n\xff\xff: \x00\r\n\r\n", "house: the upstream does not speak HTTP"),
    ],
)
async def test_what_is_not_http_is_a_failure(said: bytes, sentence: str) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        provider = OpenAiCompatible("house", f"http://127.0.0.1:{port}/v1")
        assert (await heard_until_failure(provider))[1].startswith(sentence)
        await provider.aclose()


def test_a_key_that_cannot_be_sent_is_refused_at_once() -> None:
    for key in ("sk-\r\nX-Evil: 1", "sk-é", "sk-\0"):
        with pytest.raises(ValueError, match="header") as failure:
            OpenAiCompatible("house", "http://127.0.0.1/v1", api_key=key)
        assert key not in str(failure.value)
