"""Synthflow's shapes from domain values, without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatkeep.dialects.synthflow import translate, wire
from chatkeep.domain.agent import Agent
from chatkeep.domain.chat import Chat, ChatThread
from chatkeep.domain.errors import InvalidField
from chatkeep.domain.ids import AgentId, ChatId, MessageId, ModelId, OrganisationId, PrincipalId
from chatkeep.domain.message import Message, MessageRole
from chatkeep.services.agents import Agents

SESSION = ChatId("a830288c-88df-4611-8db2-6db87b4fbb41")
AGENT = AgentId("893195c1-c640-438b-9761-2e5357b01cb8")
START_US = 1_767_268_800_000_000

CHAT = Chat(
    organisation_id=OrganisationId("o"),
    id=SESSION,
    owner_id=PrincipalId("p"),
    owner_name="Ann",
    owner_external_id=None,
    dialect="synthflow",
    model_id=ModelId("chat-model"),
    agent_id=AGENT,
    title=None,
    system_prompt=None,
    metadata=None,
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
    created_at=START_US,
    updated_at=START_US,
    version=1,
)


def thread(*said: Message, chat: Chat = CHAT) -> ChatThread:
    tip = said[-1].id if said else None
    return ChatThread(replace(chat, current_message_id=tip), list(said))


def message(seq: int, role: MessageRole, content: str, turn: int, **rest) -> Message:
    parent = MessageId(str(seq - 1)) if seq > 1 else None
    created_at = START_US + seq * 1_000_000
    return Message(SESSION, MessageId(str(seq)), seq, parent, role, content, turn, created_at, **rest)


GREETING = message(1, "assistant", "Hi there!", 1, agent_id=AGENT, state_id="greeting_state")
QUESTION = message(2, "user", "hello\nyou", 2, state_id="greeting_state")
ANSWER = message(3, "assistant", "Welcome.", 3, agent_id=AGENT, state_id="main_state")


def test_a_session_is_printed_as_the_vendor_does() -> None:
    assert translate.chat(thread(GREETING, QUESTION, ANSWER)) == {
        "status": "ok",
        "response": {
            "chat_id": SESSION,
            "chat_status": "ongoing",
            "conversation_history": [
                {
                    "agent_id": AGENT,
                    "current_state": "greeting_state",
                    "message": "Hi there!",
                    "timestamp": "2026-01-01T12:00:01Z",
                    "turn_number": 1,
                },
                {
                    "agent_id": "user",
                    "current_state": "greeting_state",
                    "message": "hello\nyou",
                    "timestamp": "2026-01-01T12:00:02Z",
                    "turn_number": 2,
                },
                {
                    "agent_id": AGENT,
                    "current_state": "main_state",
                    "message": "Welcome.",
                    "timestamp": "2026-01-01T12:00:03Z",
                    "turn_number": 3,
                },
            ],
            "initial_message": {
                "agent_message": "Hi there!",
                "current_state": "greeting_state",
                "timestamp": "2026-01-01T12:00:01Z",
                "turn_number": 1,
            },
            "start_timestamp": "2026-01-01T12:00:00Z",
            "transcript": "Agent: Hi there!\nUser: hello\nyou\nAgent: Welcome.",
            "fsm_log": None,
        },
    }


def test_without_a_greeting_there_is_no_initial_message() -> None:
    empty = translate.chat(thread())["response"]
    assert (empty["initial_message"], empty["transcript"], empty["conversation_history"]) == (None, "", [])
    assert translate.chat(thread(message(1, "user", "Hello", 1)))["response"]["initial_message"] is None


def test_what_neither_user_nor_agent_said_is_left_out() -> None:
    said = thread(
        message(1, "system", "Be brief.", 0),
        message(2, "assistant", "Hi", 1),
        message(3, "user", "Weather?", 2),
        message(4, "tool", "rain", 2, tool_call_id="c"),
        message(5, "assistant", "Rain.", 3),
    )
    response = translate.chat(said)["response"]
    assert [row["turn_number"] for row in response["conversation_history"]] == [1, 2, 3]
    assert response["transcript"] == "Agent: Hi\nUser: Weather?\nAgent: Rain."
    assert response["initial_message"] is not None


def test_only_the_current_path_is_history() -> None:
    left_behind = replace(message(2, "user", "old", 2), id=MessageId("old"))
    said = [GREETING, left_behind, replace(QUESTION, seq=3)]
    response = translate.chat(ChatThread(replace(CHAT, current_message_id=QUESTION.id), said))["response"]
    assert [row["message"] for row in response["conversation_history"]] == ["Hi there!", "hello\nyou"]


@pytest.mark.parametrize(
    ("message_agent", "chat_agent", "message_model", "chat_model", "speaker"),
    [
        ("ma", "ca", "mm", "cm", "ma"),
        (None, "ca", "mm", "cm", "ca"),
        (None, None, "mm", "cm", "mm"),
        (None, None, None, "cm", "cm"),
        (None, None, None, None, "assistant"),
    ],
)
def test_who_spoke_is_agent_then_model_then_assistant(
    message_agent, chat_agent, message_model, chat_model, speaker
) -> None:
    said = message(1, "assistant", "x", 1, agent_id=message_agent, model_id=message_model)
    chat = replace(CHAT, agent_id=chat_agent, model_id=chat_model)
    [row] = translate.chat(thread(said, chat=chat))["response"]["conversation_history"]
    assert (row["agent_id"], row["current_state"]) == (speaker, "main_state")


@pytest.mark.parametrize("state", ["ongoing", "completed", "cancelled"])
def test_the_chat_status_is_that_of_the_session(state) -> None:
    assert translate.chat(thread(chat=replace(CHAT, session_state=state)))["response"]["chat_status"] == state


def test_an_agent_is_listed_with_what_it_has() -> None:
    agent = Agent(
        OrganisationId("o"), AGENT, "Ann", "Be kind.", "agent_static", "Hi", ModelId("m"), START_US, START_US
    )
    listed = Agents([agent, replace(agent, greeting_mode="human", model_id=None)], 7)
    out = translate.assistants(listed, wire.AssistantQuery(limit=2, offset=3))
    assert out["response"]["pagination"] == {"total_records": 7, "limit": 2, "offset": 3}
    first, second = out["response"]["assistants"]
    assert first == {
        "type": "widget",
        "name": "Ann",
        "model_id": AGENT,
        "agent": {
            "prompt": "Be kind.",
            "greeting_message": "Hi",
            "greeting_message_mode": "agent_static",
            "llm": "m",
        },
    }
    assert second["agent"]["greeting_message_mode"] == "human"
    assert "llm" not in second["agent"]


def test_a_chat_id_is_a_uuid_in_lower_case() -> None:
    assert translate.chat_id(SESSION.upper()) == SESSION
    faults = set()
    for text in ("x", "", SESSION[:-1], SESSION.replace("-", ""), f"{{{SESSION}}}", SESSION + "\n"):
        with pytest.raises(InvalidField) as fault:
            translate.chat_id(text)
        faults.add(str(fault.value))
    assert len(faults) == 1
