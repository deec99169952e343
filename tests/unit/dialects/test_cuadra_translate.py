"""Cuadra's shapes from domain values and back, without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest
from pydantic import ValidationError

from chatkeep.dialects.cuadra import errors, stream, translate, wire
from chatkeep.domain.chat import UNSET, Chat, ChatThread
from chatkeep.domain.errors import (
    ChatkeepError,
    InvalidField,
    MissingCredential,
    RateLimited,
    ShuttingDown,
    StoreLost,
)
from chatkeep.domain.event import Event, EventKind
from chatkeep.domain.ids import AgentId, ChatId, MessageId, ModelId, OrganisationId, PrincipalId, RunId
from chatkeep.domain.message import Message
from chatkeep.domain.model import Model, ModelCard
from chatkeep.domain.run import Run
from chatkeep.domain.usage import Usage
from chatkeep.runtime.runner import LiveRun
from chatkeep.services.generating import Outcome, StartedRun
from chatkeep.services.wishes import Wish

NOON_US = 1_705_314_600_000_000
CHAT = Chat(
    organisation_id=OrganisationId("org_abc123"),
    id=ChatId("chat_abc123"),
    owner_id=PrincipalId("user_xyz789"),
    owner_name="Ada",
    owner_external_id=None,
    dialect="cuadra",
    model_id=ModelId("model_large-model"),
    agent_id=AgentId("agent"),
    title="Product Support Chat",
    system_prompt="You are a helpful customer support assistant.",
    metadata={"a": 1},
    extra={},
    origin="connector",
    source="slack",
    visibility="shared",
    status="error",
    last_error="Stream interrupted",
    last_error_at=NOON_US + 3,
    session_state="ongoing",
    end_reason=None,
    current_message_id=MessageId("m2"),
    last_seq=3,
    is_branched=True,
    message_count=2,
    documents_count=3,
    last_message_at=NOON_US,
    pinned=False,
    archived=False,
    folder_id=None,
    share_id=None,
    expires_at=NOON_US + 5_000_000,
    deleted_at=NOON_US + 4,
    deleted_by=PrincipalId("user_456"),
    created_at=NOON_US,
    updated_at=NOON_US + 1_000_000,
    version=7,
    shared_with=(PrincipalId("user_123"), PrincipalId("user_456")),
)
MODEL = Model(OrganisationId("org_abc123"), ModelId("m"), ModelCard("M", 100), True, NOON_US, NOON_US)
RUN = Run(
    organisation_id=OrganisationId("org_abc123"),
    id=RunId("r"),
    chat_id=CHAT.id,
    principal_id=PrincipalId("user_xyz789"),
    question_id=MessageId("m8"),
    answer_id=MessageId("m9"),
    model_id=MODEL.id,
    wish={},
    request=None,
    state="running",
    first_seq=4,
    epoch=1,
    holder="here",
    lease_until=NOON_US,
    stop_requested_at=None,
    usage=None,
    response_time_ms=None,
    started_at=NOON_US,
    ended_at=None,
    error=None,
)


def _message(message_id: str, seq: int, parent: str | None, **values: Any) -> Message:
    parent_id = None if parent is None else MessageId(parent)
    values = {"role": "user", "content": message_id, "turn_number": seq, "created_at": NOON_US, **values}
    return Message(chat_id=CHAT.id, id=MessageId(message_id), seq=seq, parent_id=parent_id, **values)


def test_a_chat_has_every_field_of_the_page() -> None:
    messages = [_message("m1", 1, None), _message("side", 2, "m1"), _message("m2", 3, "m1")]
    out = translate.chat(ChatThread(CHAT, messages), model=MODEL, first=None)
    shown = [(each["id"], each["chatId"]) for each in out["messages"]]
    assert shown == [("m1", "chat_abc123"), ("m2", "chat_abc123")]
    assert {name: value for name, value in out.items() if name not in ("messages", "model")} == {
        "createdAt": "2024-01-15T10:30:00Z",
        "updatedAt": "2024-01-15T10:30:01Z",
        "organizationId": "org_abc123",
        "id": "chat_abc123",
        "modelId": "model_large-model",
        "createdBy": "user_xyz789",
        "title": "Product Support Chat",
        "systemPrompt": "You are a helpful customer support assistant.",
        "metadata": {"a": 1},
        "status": "error",
        "lastError": "Stream interrupted",
        "lastErrorAt": "2024-01-15T10:30:00.000003Z",
        "documentsCount": 3,
        "visibility": "shared",
        "sharedWith": ["user_123", "user_456"],
        "deletedAt": "2024-01-15T10:30:00.000004Z",
        "deletedBy": "user_456",
        "source": "connector",
        "sourceDetail": "slack",
        "ephemeral": True,
        "ephemeralExpiresAt": "2024-01-15T10:30:05Z",
    }
    assert out["model"] == translate.model_out(MODEL)


def test_a_chat_without_a_model_names_the_first() -> None:
    nameless = replace(CHAT, model_id=None)
    assert translate.chat_item(nameless, models={}, first=MODEL)["modelId"] == "m"
    assert translate.chat_item(nameless, models={MODEL.id: MODEL}, first=MODEL)["model"] is not None
    assert translate.chat_item(nameless, models={}, first=None)["modelId"] == ""
    assert translate.chat_item(CHAT, models={}, first=MODEL)["modelId"] == "model_large-model"


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        (2.0, b"2"),
        (1.5, b"1.5"),
        (-3.0, b"-3"),
        (1e300, b"1e+300"),
        (2.0**53, b"9007199254740992"),
        (None, b"null"),
    ],
)
def test_a_multiplier_is_written_as_the_vendor_does_whatever_its_size(
    stored: float | None, written: bytes
) -> None:
    model = replace(MODEL, card=replace(MODEL.card, credit_multiplier=stored))
    assert b'"creditMultiplier":' + written in orjson.dumps(translate.model_out(model))


def test_a_model_shows_all_that_is_known() -> None:
    card = ModelCard(
        display_name="M",
        context_window=1,
        supports_tools=False,
        supports_vision=True,
        supports_reasoning=False,
        credit_multiplier=1.5,
        model_tier="premium",
        lifecycle_state="deprecated",
        end_of_life_at=NOON_US,
        deprecation_notice="soon",
        parent_model_id=ModelId("p"),
        profile_id="pr",
        system_prompt_id="sp",
        system_prompt="S",
    )
    out = translate.model_out(replace(MODEL, card=card))
    assert out.keys() == wire.ModelOut.__annotations__.keys()
    assert (out["supportsTools"], out["creditMultiplier"]) == (False, 1.5)
    assert out["endOfLifeAt"] == "2024-01-15T10:30:00Z"
    unknown = {"supportsTools", "supportsVision", "supportsReasoning", "modelTier", "endOfLifeAt"} | {
        *("deprecationNotice", "parentModelId", "profileId", "systemPromptId", "systemPrompt")
    }
    assert translate.model_out(MODEL).keys() == out.keys() - unknown


def test_calls_without_content_read_back_without_content() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "toolCalls": [call]},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "x"},
    ]
    body = wire.ChatIn.model_validate({"messages": said})
    null, empty, text = translate.new_messages(body, PrincipalId("me"))
    assert (null.content, null.tool_calls, null.author_id) == ("", [call], None)
    assert text.author_id == "me"
    shown = [
        translate.message(_message("m", 1, None, content=new.content, extra=new.extra))
        for new in (null, empty)
    ]
    assert [each["content"] for each in shown] == [None, ""]


def test_wishes() -> None:
    said = {"messages": [{"role": "user", "content": "x"}]}
    body = wire.ChatIn.model_validate(
        {**said, "modelId": "m", "maxTokens": 5, "temperature": 1, "system_prompt": "P", "ephemeral": True}
    )
    assert translate.wish(body) == Wish(
        model_id=ModelId("m"), max_tokens=5, temperature=1.0, system_prompt="P"
    )
    new = translate.new_chat(body, ephemeral_ttl_s=60)
    assert (new.dialect, new.model_id, new.system_prompt, new.ttl_s) == ("cuadra", "m", "P", 60)
    assert translate.new_chat(wire.ChatIn.model_validate(said), ephemeral_ttl_s=60).ttl_s is None


@pytest.mark.parametrize("field", ["responseFormat", "fileIds", "enableReasoning", "enableArtifacts"])
def test_what_is_not_served_is_refused_by_its_wire_name(field: str) -> None:
    asking: dict[str, Any] = {"responseFormat": {"type": "x"}, "fileIds": ["f"]}
    said = {"messages": [{"role": "user", "content": "x"}]}
    body = wire.ChatIn.model_validate({**said, field: asking.get(field, True)})
    with pytest.raises(InvalidField) as refused:
        translate.wish(body)
    assert refused.value.field == field


def test_changes_are_what_was_mentioned() -> None:
    nothing = translate.changes(wire.ChatPatch.model_validate({}))
    assert {nothing.title, nothing.system_prompt, nothing.visibility, nothing.shared_with} == {UNSET}
    cleared = translate.changes(
        wire.ChatPatch.model_validate({"title": None, "sharedWith": None, "metadata": None})
    )
    assert (cleared.title, cleared.shared_with, cleared.metadata) == (None, (), None)
    assert cleared.visibility is UNSET
    for name in ("systemPrompt", "system_prompt"):
        assert translate.changes(wire.ChatPatch.model_validate({name: "P"})).system_prompt == "P"
    with pytest.raises(ValidationError):
        wire.ChatPatch.model_validate({"visibility": None})


def _every_error(kind: type[ChatkeepError]) -> list[type[ChatkeepError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _every_error(below))]


def test_the_table_of_errors_is_total() -> None:
    for kind in _every_error(ChatkeepError):
        assert 400 <= errors.STATUSES.of(kind.__new__(kind)) < 600, kind


def test_errors_in_the_vendors_words() -> None:
    nobody = errors.write_error(MissingCredential(), "GET")
    assert b'"detail":"Invalid or expired token."' in bytes(nobody.body)
    field = errors.write_error(InvalidField("messages.2.tool_call_id", "is missing"), "POST")
    assert bytes(field.body) == (
        b'{"type":"about:blank","title":"Validation error","status":422,'
        b'"detail":"messages.2.toolCallId: is missing"}'
    )
    late = errors.write_error(RateLimited(60), "GET")
    assert (late.headers["retry-after"], late.headers["x-ratelimit-remaining"]) == ("60", "0")


def _event(seq: int, kind: EventKind, text: str | None = None, **values: Any) -> Event:
    return Event(RUN.organisation_id, CHAT.id, seq, NOON_US, kind, RUN.id, text=text, **values)


async def _stream(*batches: list[Event], failure: ChatkeepError | None = None) -> bytes:
    async def journal() -> AsyncIterator[list[Event]]:
        for batch in batches:
            yield batch

    nothing = cast("Any", None)
    live = LiveRun(StartedRun(nothing, RUN, nothing, Wish(), CHAT, None))
    if failure is not None:
        live.fail(failure)
    return b"".join([event async for event in stream.events(live, journal())])


LAST = (
    b'data: {"id":"chat_abc123","delta":"","finished":true,'
    b'"usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5}}\n\ndata: [DONE]\n\n'
)


async def test_a_stream_from_a_journal() -> None:
    answer = _message("m9", 4, None, content="Gruezi")
    counted: Any = {"usage": {"input_tokens": 3, "output_tokens": 2}, "error": None, "response_time_ms": 5}
    said = await _stream(
        [_event(4, "run.started"), _event(5, "run.reasoning", "Hm")],
        [],
        [_event(6, "message.created", message=replace(answer, content=""))],
        [_event(7, "run.delta", "Gru"), _event(8, "run.delta", "ezi")],
        [_event(9, "run.completed", message=answer, data=counted), _event(10, "run.delta", "never")],
    )
    assert said == (
        b'data: {"id":"chat_abc123","delta":"","reasoning":"Hm","finished":false}\n\n: \n\n'
        b'data: {"id":"chat_abc123","delta":"Gru","finished":false}\n\n'
        b'data: {"id":"chat_abc123","delta":"ezi","finished":false}\n\n' + LAST
    )
    whole = b'data: {"id":"chat_abc123","delta":"Gruezi","finished":false}\n\n'
    assert stream.replay(Outcome(RUN, answer, Usage(3, 2), None)) == whole + LAST


def _broken(sentence: bytes) -> bytes:
    return (
        b'data: {"id":"chat_abc123","delta":"","finished":true,"usage":null,'
        b'"error":{"code":"service_error","message":"' + sentence + b'"}}\n\ndata: [DONE]\n\n'
    )


async def test_a_stream_of_a_failed_run_says_why() -> None:
    failed: Any = {"usage": None, "error": "The upstream fell over.", "response_time_ms": 5}
    assert await _stream([_event(4, "run.failed", data=failed)]) == _broken(b"The upstream fell over.")


async def test_a_stream_whose_end_could_not_be_written_says_so() -> None:
    assert await _stream(failure=StoreLost("The store is lost.")) == _broken(b"The store is lost.")
    told = await _stream([_event(5, "run.delta", "Gru")])
    assert told.endswith(_broken(str(ShuttingDown()).encode())), "the server went first"
