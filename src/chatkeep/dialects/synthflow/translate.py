"""Domain values to Synthflow's shapes and back. Pure."""

from __future__ import annotations

from chatkeep.dialects.synthflow import wire
from chatkeep.domain.agent import MAIN_STATE, Agent
from chatkeep.domain.chat import Chat, ChatThread, NewChat
from chatkeep.domain.errors import InvalidField
from chatkeep.domain.ids import ChatId, is_uuid
from chatkeep.domain.message import SPEAKING_ROLES, Message
from chatkeep.domain.text import iso_z
from chatkeep.services.agents import Agents

USER = "user"


def chat_id(text: str) -> ChatId:
    """The chat a path names: a UUID, always in lower case. Raises the same `InvalidField` for whatever is none."""
    if not is_uuid(text):
        raise InvalidField("chat_id", "must be a UUID")
    return ChatId(text.lower())


def new_session(session_id: ChatId, body: wire.CreateChatIn) -> NewChat:
    """The session a client wants opened."""
    return NewChat(dialect="synthflow", id=session_id, metadata=body.metadata)


def chat(thread: ChatThread) -> wire.ChatOut:
    """A session with its history: the current path without what neither user nor agent said."""
    spoken = [message for message in thread.path if message.role in SPEAKING_ROLES]
    greets = bool(spoken) and spoken[0].role == "assistant"
    response: wire.ChatResponse = {
        "chat_id": thread.chat.id,
        "chat_status": thread.chat.session_state,
        "conversation_history": [_history(thread.chat, message) for message in spoken],
        "initial_message": _agent_message(spoken[0]) if greets else None,
        "start_timestamp": iso_z(thread.chat.created_at),
        "transcript": "\n".join(_line(message) for message in spoken),
        "fsm_log": None,
    }
    return {"status": "ok", "response": response}


def answer(message: Message) -> wire.MessageOut:
    """The agent's answer to a message."""
    return {"status": "ok", "response": _agent_message(message)}


def assistants(found: Agents, query: wire.AssistantQuery) -> wire.AssistantsOut:
    """A stretch of the list of agents."""
    pagination: wire.Pagination = {
        "total_records": found.total,
        "limit": query.limit,
        "offset": query.offset,
    }
    listed = [_assistant(agent) for agent in found.items]
    return {"status": "ok", "response": {"pagination": pagination, "assistants": listed}}


def _history(chat: Chat, message: Message) -> wire.ChatMessage:
    return {
        "agent_id": _speaker(chat, message),
        "current_state": _state(message),
        "message": message.content,
        "timestamp": iso_z(message.created_at),
        "turn_number": message.turn_number,
    }


def _speaker(chat: Chat, message: Message) -> str:
    """Chats of other dialects have no agent; then the model is who spoke, and at last somebody was."""
    if message.role == "user":
        return USER
    return message.agent_id or chat.agent_id or message.model_id or chat.model_id or "assistant"


def _state(message: Message) -> str:
    return message.state_id or MAIN_STATE


def _agent_message(message: Message) -> wire.AgentMessage:
    return {
        "agent_message": message.content,
        "current_state": _state(message),
        "timestamp": iso_z(message.created_at),
        "turn_number": message.turn_number,
    }


def _line(message: Message) -> str:
    return f"{'User' if message.role == 'user' else 'Agent'}: {message.content}"


def _assistant(agent: Agent) -> wire.Assistant:
    speaks: wire.Agent = {
        "prompt": agent.prompt,
        "greeting_message": agent.greeting_message,
        "greeting_message_mode": agent.greeting_mode,
    }
    if agent.model_id is not None:
        speaks["llm"] = agent.model_id
    return {"type": "widget", "name": agent.name, "model_id": agent.id, "agent": speaks}
