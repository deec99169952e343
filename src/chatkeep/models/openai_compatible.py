"""Any upstream that speaks OpenAI's chat completions: OpenAI itself, vLLM, llama.cpp, Ollama, OpenRouter, ...

Only the wiring makes one (and `local`, whose offline model speaks the same). Promises: an answer is streamed as it
arrives, three time-outs bound every wait, redirects are not followed, no cookie is kept, and neither the API key nor
the address is in an error's sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from chatkeep.domain.errors import ProviderFailed
from chatkeep.domain.money import price_from
from chatkeep.models.completion_stream import CompletionStream, parse_json
from chatkeep.models.event_stream import EventStream, EventTooLong
from chatkeep.models.malformed import Malformed
from chatkeep.models.output_text import clean
from chatkeep.models.port import ModelListing, Piece, Prompt, Turn
from chatkeep.models.silence_watch import SilenceWatch
from chatkeep.models.upstream_trouble import complaint_about, sentence_for

_DETAIL_CHARACTERS_MAX = 200
_ERROR_BYTES_MAX = 64 * 1024
_LISTING_BYTES_MAX = 8 * 1024 * 1024
# How long a whole answer waits for the usage that may follow it: losing the count is better than losing the answer.
_USAGE_GRACE_S = 5.0
# What different servers call the context window in their model listing.
_CONTEXT_FIELDS = ("context_window", "context_length", "max_model_len", "max_context_length")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds of every wait, in seconds: `connect_s` of name, TCP and TLS; `first_token_s` from the request to the first
    piece; `silence_s` between two events after that. Comments sent to keep a connection open count as silence.
    """

    connect_s: float = 10.0
    first_token_s: float = 120.0
    silence_s: float = 60.0


class OpenAiCompatible:
    """A provider at `base_url` (with its `/v1`). Fulfils `Provider`; used on the event loop of its first call.

    `options` are further fields of every prompt's request. Raises ValueError for an API key that cannot be in a header.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        api_key: str | None = None,
        timeouts: Timeouts = Timeouts(),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            raise ValueError(f"{name}: the API key has characters that cannot be in a header")
        self._name = name
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key or None
        self._timeouts = timeouts
        self._no_first_token = f"no first token within {timeouts.first_token_s:g} s"
        self._fell_silent = f"nothing more within {timeouts.silence_s:g} s"
        self._options = dict(options or {})
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """The configured name."""
        return self._name

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Answer `prompt`; promise, shapes and errors are those of `Provider.stream`."""
        events, answer = EventStream(), CompletionStream()
        deadline_s = _now_s() + self._timeouts.first_token_s
        response = await self._send(
            "POST",
            "/chat/completions",
            deadline_s,
            late=self._no_first_token,
            body=_body(prompt, self._options),
        )
        watch = SilenceWatch(response.close)
        try:
            if (complaint := complaint_about(response, is_stream=True)) is not None:
                raise await self._refusal(response, deadline_s, complaint)
            while not answer.is_done:
                watch.wait_until(deadline_s)
                received = await self._read(response, watch, answer)
                watch.rest()
                for data in self._events(events, received):
                    for piece in self._understood(answer.take, data):
                        yield piece
                    # Set after the pieces were taken: a slow reader is not the upstream's silence.
                    deadline_s = self._next_deadline_s(answer, deadline_s, watch.now_s())
                if not received:
                    break
        finally:
            watch.close()
            response.close()
        for piece in self._understood(answer.finish):
            yield piece

    async def list_models(self) -> list[ModelListing]:
        """What `GET /models` says, in its order; entries without a name are passed over. Raises `ProviderFailed`."""
        deadline_s = _now_s() + self._timeouts.silence_s
        late = f"no listing within {self._timeouts.silence_s:g} s"
        response = await self._send("GET", "/models", deadline_s, late=late)
        try:
            if (complaint := complaint_about(response, is_stream=False)) is not None:
                raise await self._refusal(response, deadline_s, complaint)
            body = await self._read_all(response, deadline_s, late=late, bytes_max=_LISTING_BYTES_MAX)
        finally:
            response.close()
        try:
            return _listings(parse_json(body))
        except Malformed as trouble:
            raise self._failed(str(trouble)) from None

    async def aclose(self) -> None:
        """Close all connections; a later call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Accept-Encoding": "identity"}  # a compressor holds back tokens
            if self._api_key is not None:
                headers["Authorization"] = f"Bearer {self._api_key}"
            self._session = aiohttp.ClientSession(
                # A connection an answer: a kept one that the upstream closes while we write to it would fail an
                # answer that cannot be asked for twice (llama.cpp does so after every stream).
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._timeouts.connect_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=headers,
            )
        return self._session

    async def _send(
        self, method: str, path: str, deadline_s: float, *, late: str, body: bytes | None = None
    ) -> aiohttp.ClientResponse:
        headers = {"Content-Type": "application/json"} if body is not None else None
        try:
            async with asyncio.timeout_at(deadline_s):
                return await self._open_session().request(
                    method, self._base_url + path, data=body, headers=headers, allow_redirects=False
                )
        except aiohttp.ConnectionTimeoutError:
            raise self._failed(f"no connection within {self._timeouts.connect_s:g} s") from None
        except TimeoutError:
            raise self._failed(late) from None
        except (aiohttp.ClientError, OSError) as trouble:
            raise self._failed(sentence_for(trouble)) from None

    async def _read(
        self, response: aiohttp.ClientResponse, watch: SilenceWatch, answer: CompletionStream
    ) -> bytes:
        """The next bytes; none at the end, and none when a whole answer's connection breaks or stays silent."""
        try:
            return await response.content.readany()
        except (aiohttp.ClientError, OSError, RuntimeError) as trouble:  # RuntimeError: after `aclose`
            if answer.is_whole:
                return b""
            if watch.has_given_up:
                late = self._fell_silent if answer.has_begun else self._no_first_token
                raise self._failed(late) from None
            raise self._failed(sentence_for(trouble)) from None

    async def _receive(self, response: aiohttp.ClientResponse, deadline_s: float, *, late: str) -> bytes:
        try:
            async with asyncio.timeout_at(deadline_s):
                return await response.content.readany()
        except TimeoutError:
            raise self._failed(late) from None
        except (aiohttp.ClientError, OSError) as trouble:
            raise self._failed(sentence_for(trouble)) from None

    async def _read_all(
        self, response: aiohttp.ClientResponse, deadline_s: float, *, late: str, bytes_max: int
    ) -> bytes:
        body = bytearray()
        while len(body) < bytes_max and (received := await self._receive(response, deadline_s, late=late)):
            body += received
        return bytes(body[:bytes_max])

    async def _refusal(
        self, response: aiohttp.ClientResponse, deadline_s: float, what: str
    ) -> ProviderFailed:
        try:
            body = await self._read_all(response, deadline_s, late=what, bytes_max=_ERROR_BYTES_MAX)
        except ProviderFailed:
            body = b""  # what is known already must do
        return self._failed(what, body.decode(errors="replace"))

    def _next_deadline_s(self, answer: CompletionStream, deadline_s: float, now_s: float) -> float:
        if answer.is_whole:
            return now_s + min(_USAGE_GRACE_S, self._timeouts.silence_s)
        return now_s + self._timeouts.silence_s if answer.has_begun else deadline_s

    def _events(self, events: EventStream, received: bytes) -> Iterator[bytes]:
        try:
            yield from events.feed(received) if received else events.flush()
        except EventTooLong as trouble:
            raise self._failed(str(trouble)) from None

    def _understood(self, hear: Callable[..., list[Piece]], *data: bytes) -> list[Piece]:
        try:
            return hear(*data)
        except Malformed as trouble:
            raise self._failed(str(trouble)) from None

    def _failed(self, what: str, said: str = "") -> ProviderFailed:
        parts = [self._name, self._short(what), self._short(said)]
        return ProviderFailed(": ".join(filter(None, parts)))

    def _short(self, text: str) -> str:
        # The key goes first: cutting might leave half of it, which nothing would then recognise.
        if self._api_key is not None:
            text = text.replace(self._api_key, "***")
        return " ".join(clean(text).split())[:_DETAIL_CHARACTERS_MAX]


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _body(prompt: Prompt, options: dict[str, Any]) -> bytes:
    body: dict[str, Any] = {
        **options,
        "model": prompt.model_name,
        "messages": [_message(turn) for turn in prompt.turns],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if prompt.max_tokens is not None:
        body["max_tokens"] = prompt.max_tokens
    if prompt.temperature is not None:
        body["temperature"] = prompt.temperature
    if prompt.tools:
        body["tools"] = prompt.tools
    if prompt.tool_choice is not None:
        body["tool_choice"] = prompt.tool_choice
    return orjson.dumps(body)


def _message(turn: Turn) -> dict[str, Any]:
    if turn.tool_calls:
        return {"role": turn.role, "content": turn.content or None, "tool_calls": turn.tool_calls}
    if turn.tool_call_id is not None:
        return {"role": turn.role, "tool_call_id": turn.tool_call_id, "content": turn.content}
    return {"role": turn.role, "content": turn.content}


def _listings(body: Any) -> list[ModelListing]:
    entries = body.get("data") if isinstance(body, dict) else None
    if not isinstance(entries, list):
        raise Malformed("the model listing has no data")
    return [
        ModelListing(clean(entry["id"]), _context_window(entry), *_prices(entry))
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    ]


def _context_window(entry: dict[str, Any]) -> int | None:
    for field in _CONTEXT_FIELDS:
        value = entry.get(field)
        if type(value) is int and value > 0:
            return value
    return None


def _prices(entry: dict[str, Any]) -> tuple[str | None, str | None]:
    """As OpenRouter lists them: money for one token, as text. Others write numbers of other units, which are no use."""
    pricing = entry.get("pricing")
    listed = (pricing.get("prompt"), pricing.get("completion")) if isinstance(pricing, dict) else (None, None)
    read, written = (price_from(each) if isinstance(each, str) else None for each in listed)
    return read, written
