"""Agents: list, get, and opening a session with one."""

from __future__ import annotations

from dataclasses import dataclass

from chatkeep.domain.agent import GREETING_STATE, Agent
from chatkeep.domain.chat import ChatThread, NewChat
from chatkeep.domain.errors import AlreadyExists, InvalidField
from chatkeep.domain.ids import AgentId, is_id
from chatkeep.domain.message import NewMessage
from chatkeep.services import access, chats
from chatkeep.services.context import Context
from chatkeep.store import agents, chats as chat_rows, messages
from chatkeep.store.driver import Transaction


@dataclass(frozen=True, slots=True)
class Agents:
    """A stretch of the list by offset, and how many agents there are in all."""

    items: list[Agent]
    total: int


async def list_agents(ctx: Context, *, limit: int, offset: int) -> Agents:
    """Agents of the organisation, oldest first."""
    ctx.principal.require("models:read")

    async def body(tx: Transaction) -> Agents:
        return Agents(await agents.page(tx, limit=limit, offset=offset), await agents.count(tx))

    return await ctx.read(body)


async def open_session(ctx: Context, agent_id: AgentId, new: NewChat) -> ChatThread:
    """Create `new` as a session with the agent, greeting included; `new.id` is the client's own.

    Opening the same session again with the same agent returns it as it is. Raises `InvalidField` for an unknown agent
    and `AlreadyExists` when the id is a chat of something else.
    """
    chats.check_new(ctx, new)

    async def body(tx: Transaction) -> ChatThread:
        agent = await agents.get(tx, agent_id) if is_id(agent_id) else None
        if agent is None:
            raise InvalidField("model_id", "no such agent")
        if new.id is not None and await chat_rows.access(tx, new.id) is not None:
            return await _again(tx, ctx, agent, new)
        session = NewChat(
            dialect=new.dialect,
            id=new.id,
            model_id=agent.model_id,
            agent_id=agent.id,
            system_prompt=agent.prompt,
            metadata=new.metadata,
            source=new.source,
        )
        return await chats.create_in(tx, ctx, session, _greeting(agent))

    return await ctx.write(body)


def _greeting(agent: Agent) -> list[NewMessage]:
    if agent.greeting_mode == "human" or not agent.greeting_message:
        return []
    return [
        NewMessage(role="assistant", content=agent.greeting_message, agent_id=agent.id, state_id=GREETING_STATE)
    ]


async def _again(tx: Transaction, ctx: Context, agent: Agent, new: NewChat) -> ChatThread:
    assert new.id is not None
    found = await chat_rows.get(tx, new.id)
    is_same = found is not None and found.agent_id == agent.id
    if found is None or not is_same or found.access.is_gone(ctx.now_us()):
        raise AlreadyExists("A chat with this id exists already.")
    if not await access.sees(tx, ctx.principal, found.id, found.access):
        raise AlreadyExists("A chat with this id exists already.")
    return ChatThread(found, await messages.of_chat(tx, found.id))
