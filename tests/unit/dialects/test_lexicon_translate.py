"""Lexicon's translations alone: values in, shapes out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatkeep.dialects.lexicon import errors, translate, wire
from chatkeep.domain.chat import Chat, SessionState
from chatkeep.domain.errors import BadCursor, InvalidField, MissingScope, NotFound, RateLimited
from chatkeep.domain.ids import ChatId, MessageId, ModelId, OrganisationId, PrincipalId
from chatkeep.domain.message import Message, MessageRole

CHAT = Chat(
    organisation_id=OrganisationId("tenant"),
    id=ChatId("chat"),
    owner_id=PrincipalId("person"),
    owner_name="Ann",
    owner_external_id="user123",
    dialect="lexicon",
    model_id=None,
    agent_id=None,
    title="Title",
    system_prompt=None,
    metadata={"a": 1},
    extra={},
    origin="api",
    source=None,
    visibility="private",
    status=None,
    last_error=None,
    last_error_at=None,
    session_state="ongoing",
    end_reason=None,
    current_message_id=None,
    last_seq=0,
    is_branched=False,
    message_count=0,
    documents_count=0,
    last_message_at=None,
    pinned=False,
    archived=False,
    folder_id=None,
    share_id=None,
    expires_at=None,
    deleted_at=None,
    deleted_by=None,
    created_at=1_705_314_600_000_000,
    updated_at=1_705_314_900_500_000,
    version=1,
)
MODEL = ModelId("m-1")


def said(role: MessageRole) -> Message:
    return Message(ChatId("chat"), MessageId("msg-1"), 1, None, role, "Hi", 1, 1_705_314_600_000_000)


def test_a_chat() -> None:
    assert translate.chat(CHAT) == {
        "id": "chat",
        "user_id": "user123",
        "tenant_id": "tenant",
        "title": "Title",
        "config": {"metadata": {"a": 1}},
        "created_at": "2024-01-15T10:30:00Z",
        "updated_at": "2024-01-15T10:35:00.500000Z",
        "last_message_at": None,
        "message_count": 0,
        "status": "active",
    }


@pytest.mark.parametrize("title", [None, ""])
def test_a_title_is_never_empty(title: str | None) -> None:
    assert translate.chat(replace(CHAT, title=title))["title"] == "New Chat"


def test_whose_chat_it_is() -> None:
    without_name = replace(CHAT, owner_external_id=None)
    assert translate.chat(without_name)["user_id"] == "person"
    assert translate.chat(replace(without_name, owner_id=None))["user_id"] == ""


@pytest.mark.parametrize(
    ("state", "status"), [("ongoing", "active"), ("completed", "closed"), ("cancelled", "closed")]
)
def test_status(state: SessionState, status: str) -> None:
    assert translate.chat(replace(CHAT, session_state=state))["status"] == status


def test_extra_of_other_dialects_is_not_shown() -> None:
    foreign = replace(CHAT, extra={"openwebui": {"config": {"x": 1}}}, metadata=None)
    assert translate.chat(foreign)["config"] == {"metadata": {}}


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": "u"},
        {"user_id": "u", "title": None, "metadata": None, "config": None},
        {"user_id": "u", "config": {}, "title": ""},
        {"user_id": "u", "unknown": 1},
    ],
)
def test_nothing_said_is_nothing_stored(body: dict[str, object]) -> None:
    new = translate.new_chat(wire.ChatIn.model_validate(body))
    assert (new.title, new.metadata, new.extra, new.dialect) == (None, None, {}, "lexicon")


def test_an_empty_metadata_object_wins_over_config() -> None:
    body = wire.ChatIn.model_validate(
        {"user_id": "u", "metadata": {}, "config": {"metadata": {"a": 1}, "b": 2}}
    )
    new = translate.new_chat(body)
    assert (new.metadata, new.extra) == ({}, {"lexicon": {"config": {"b": 2}}})


def test_an_answers_metadata() -> None:
    answer = said("assistant")
    assert translate.message(answer, {})["metadata"] == {}
    made = replace(answer, model_id=MODEL, output_tokens=0)
    assert translate.message(made, {})["metadata"] == {"model": "m-1", "tokens_used": 0}
    assert translate.message(made, {MODEL: "gpt-4"})["metadata"] == {"model": "gpt-4", "tokens_used": 0}
    kept = replace(made, metadata={"model": "own", "x": 1})
    assert translate.message(kept, {MODEL: "gpt-4"})["metadata"] == {"model": "own", "tokens_used": 0, "x": 1}


def test_a_users_metadata_is_its_own() -> None:
    question = replace(said("user"), model_id=MODEL, output_tokens=3)
    assert translate.message(question, {MODEL: "gpt-4"})["metadata"] == {}
    assert translate.message(replace(question, metadata={"user_agent": "x"}), {})["metadata"] == {
        "user_agent": "x"
    }


def test_errors() -> None:
    cases = [
        (InvalidField("limit", "is too big"), 400, "limit: is too big"),
        (BadCursor("No."), 400, "No."),
        (NotFound("Chat"), 404, "Chat not found or doesn't belong to your tenant"),
        (NotFound("Model"), 404, "Model not found."),
        (MissingScope("chat:read"), 403, "Missing required scope: chat:read"),
    ]
    for error, status, sentence in cases:
        response = errors.write_error(error, "GET")
        assert response.status_code == status
        assert response.body == b'{"error":%d,"message":"%s"}' % (status, sentence.encode())
    assert errors.write_error(RateLimited(7), "GET").headers["retry-after"] == "7"
