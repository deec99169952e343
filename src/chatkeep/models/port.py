"""The hole that every model fills: a prompt goes in, pieces of an answer come out, one `Finished` ends it.

The runtime and the services talk to `Provider` only; which provider it is, only the wiring knows. Text that comes out
of a provider is clean: no NUL and no lone surrogates, whatever the model said. Every trouble with a provider is one
error, `ProviderFailed`, whose sentence holds no secret.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from chatkeep.domain.json import JsonObject, JsonValue
from chatkeep.domain.usage import Usage

SOURCES_MAX = 100
"""Pages that one answer may name as its sources."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the prompt; `role` is "system", "user", "assistant" or "tool".

    `tool_calls` are those of an assistant's turn in OpenAI's form; their results follow it at once, each a turn of role
    "tool" that names its call with `tool_call_id`.
    """

    role: str
    content: str
    tool_calls: tuple[JsonValue, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked: the turns in order, the model by the provider's own name, bounds (None: the provider's own).

    `tools` are functions the model may call, `tool_choice` whether it shall; both in OpenAI's form.
    """

    model_name: str
    turns: tuple[Turn, ...]
    max_tokens: int | None
    temperature: float | None
    tools: tuple[JsonObject, ...] = ()
    tool_choice: JsonValue = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The next piece of what the model thought before it answered; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole call of a tool. `id` is empty where the provider gives none; `arguments` is what it says is JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Source:
    """A web page (http or https) that the answer rests on; told again when more is known of it."""

    url: str
    title: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Counted:
    """What the call has used so far, of providers that count as they go: all that is known of one that breaks off."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is whole. `reason` as the provider says it ("stop", "length", ...; "unknown" if it does not say)."""

    usage: Usage | None
    reason: str


Piece = TextDelta | ReasoningDelta | ToolCall | Source | Counted | Finished


@dataclass(frozen=True, slots=True)
class ModelListing:
    """A model a provider offers; `context_window` in tokens, prices for a million of them.

    None where the provider does not tell.
    """

    name: str
    context_window: int | None
    input_price: str | None = None
    output_price: str | None = None


class Provider(Protocol):
    """Something that answers prompts. Used on one event loop, by any number of tasks at once."""

    @property
    def name(self) -> str:
        """The provider's configured name, as `ModelCard.provider` holds it."""
        ...

    def stream(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Answer `prompt` piece by piece as an async generator: exactly one `Finished`, and it is the last; before
        it the calls of tools, each whole.

        Raises `ProviderFailed` on any trouble upstream (connecting, an HTTP error, a malformed or broken-off stream, a
        time-out); the pieces given before it stand. Cancelling the consuming task, or `aclose()` of the generator,
        closes the connection upstream, so that nobody pays for an answer that nobody reads.
        """
        ...

    async def list_models(self) -> list[ModelListing]:
        """The models offered now. Raises `ProviderFailed`."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and processes; answers under way fail. May be called twice."""
        ...
