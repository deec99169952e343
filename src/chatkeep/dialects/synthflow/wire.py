"""Synthflow's shapes (contracts/synthflow.md D3). Times are ISO 8601 UTC text.

Request bodies ignore keys they do not know, as the vendor's do; answers always print the keys that may be null.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
ChatStatus = Literal["ongoing", "completed", "cancelled"]


class CreateChatIn(BaseModel):
    """A session to open."""

    model_config = ConfigDict(strict=True)

    model_id: str = Field(description="The ID of the agent to chat with.")
    metadata: dict[str, Any] | None = Field(
        None, description="Kept with the chat; no Synthflow answer returns it."
    )


class SendMessageIn(BaseModel):
    """What the user says."""

    model_config = ConfigDict(strict=True)

    message: str = Field(min_length=1, description="The message to send to the agent, at most 100,000 bytes.")


class AssistantQuery(BaseModel):
    """Which stretch of the agents to list."""

    limit: int = Field(20, ge=1, le=100)
    offset: int = Field(0, ge=0, le=2**53)


class ChatMessage(TypedDict):
    """One message of a session. `agent_id` is `user` for the user's; a user's message has the state it arrived in."""

    agent_id: str
    current_state: str
    message: str
    timestamp: Time
    turn_number: int


class AgentMessage(TypedDict):
    """What the agent said, and the state it is in now."""

    agent_message: str
    current_state: str
    timestamp: Time
    turn_number: int


class ChatResponse(TypedDict):
    """A session. `transcript` is the history as lines of `Agent: …` and `User: …`."""

    chat_id: Uuid
    chat_status: ChatStatus
    conversation_history: list[ChatMessage]
    initial_message: AgentMessage | None
    start_timestamp: Time
    transcript: str
    fsm_log: None


class ChatOut(TypedDict):
    """The envelope of a session."""

    status: Literal["ok"]
    response: ChatResponse


class MessageOut(TypedDict):
    """The envelope of an answer."""

    status: Literal["ok"]
    response: AgentMessage


class DeletedOut(TypedDict):
    """The envelope of nothing."""

    status: Literal["ok"]


class Pagination(TypedDict):
    """Where in the list this stretch is."""

    total_records: int
    limit: int
    offset: int


class Agent(TypedDict):
    """How an agent speaks. `llm` is its model's id; absent while it takes the workspace's first model."""

    prompt: str
    greeting_message: str
    greeting_message_mode: Literal["human", "agent_static"]
    llm: NotRequired[str]


class Assistant(TypedDict):
    """An agent. `type` is `widget`: of the vendor's three kinds the one that writes instead of telephoning."""

    type: Literal["inbound", "outbound", "widget"]
    name: str
    model_id: str
    agent: Agent


class Assistants(TypedDict):
    """A stretch of the list of agents."""

    pagination: Pagination
    assistants: list[Assistant]


class AssistantsOut(TypedDict):
    """The envelope of a list of agents."""

    status: Literal["ok"]
    response: Assistants


class ErrorOut(TypedDict):
    """An error."""

    detail: str
