"""Against a real HTTP server that plays scripts: what is streamed, how it fails, and that nothing is left open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from chatkeep.domain.errors import ProviderFailed
from chatkeep.domain.usage import Usage
from chatkeep.models.openai_compatible import OpenAiCompatible, Timeouts
from chatkeep.models.port import (
    Finished,
    ModelListing,
    Piece,
    Prompt,
    Provider,
    ReasoningDelta,
    TextDelta,
    Turn,
)
from tests.upstream import DONE, Raw, Refusal, Script, ScriptedUpstream, finish_event, text_event, usage_event

KEY = "sk-very-secret-0123456789"
PROMPT = Prompt("scripted", (Turn("system", "Be brief."), Turn("user", "Hello there, model")), None, None)
# Long enough for anything on a busy machine, so that a broken promise is a failed test and not a hanging one.
PATIENCE_S = 10.0


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


# --- how it fails ----------------------------------------------------------------------------------


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
