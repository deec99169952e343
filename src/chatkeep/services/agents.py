"""Agents: list, opening a session with one, and talking in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from chatkeep.domain.agent import GREETING_STATE, MAIN_STATE, Agent
from chatkeep.domain.chat import Chat, ChatThread, NewChat
from chatkeep.domain.errors import AlreadyExists, InvalidField
from chatkeep.domain.ids import AgentId, ChatId, is_id
from chatkeep.domain.message import NewMessage
from chatkeep.services import access, appending, chats, runs
from chatkeep.services.context import Answer, Context
from chatkeep.services.generating import Outcome, StartedRun
from chatkeep.services.wishes import Wish
from chatkeep.store import agents, messages
from chatkeep.store import chats as chat_rows
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


async def say(
    ctx: Context, chat_id: ChatId, text: str, *, settle: Callable[[Outcome], Answer] | None = None
) -> StartedRun:
    """Commit what a person says, in the state the session is in, and the run that answers it in `main_state`.

    A chat that is no session with an agent is answered by its model, without states. Raises what `runs.start` does.
    """
    ctx.principal.require("chat:invoke")
    access.check_id(chat_id)
    said = NewMessage("user", text, author_id=ctx.principal.id)
    appending.check_said(ctx, [said])

    async def body(tx: Transaction) -> StartedRun:
        session = await chat_rows.get(tx, chat_id)
        if session is None or session.agent_id is None:
            return await runs.start_in(tx, ctx, chat_id, [said], Wish(settle=settle))
        heard = replace(said, state_id=await _state(tx, session))
        return await runs.start_in(tx, ctx, chat_id, [heard], Wish(answer_state_id=MAIN_STATE, settle=settle))

    return await ctx.write(body)


async def _state(tx: Transaction, session: Chat) -> str:
    """The state the session is in: that of its current message."""
    if session.current_message_id is None:
        return GREETING_STATE
    last = await messages.get(tx, session.id, session.current_message_id)
    return (last.state_id if last is not None else None) or MAIN_STATE


def _greeting(agent: Agent) -> list[NewMessage]:
    if agent.greeting_mode == "human" or not agent.greeting_message:
        return []
    return [
        NewMessage(
            role="assistant", content=agent.greeting_message, agent_id=agent.id, state_id=GREETING_STATE
        )
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
