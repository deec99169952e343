"""Rows of agents as domain values."""

from __future__ import annotations

from chatkeep.domain.agent import Agent
from chatkeep.domain.ids import AgentId
from chatkeep.store.driver import Transaction


async def insert(tx: Transaction, agent: Agent) -> None:
    """Write a new agent."""
    await tx.run(
        "agent_insert",
        id=agent.id,
        name=agent.name,
        prompt=agent.prompt,
        greeting_mode=agent.greeting_mode,
        greeting_message=agent.greeting_message,
        model_id=agent.model_id,
        created_at=agent.created_at,
        updated_at=agent.updated_at,
    )


async def get(tx: Transaction, agent_id: AgentId) -> Agent | None:
    """One agent."""
    row = await tx.one("agent_get", id=agent_id)
    return None if row is None else Agent(*row)


async def page(tx: Transaction, *, limit: int, offset: int) -> list[Agent]:
    """Agents, oldest first."""
    return [Agent(*row) for row in await tx.all("agents_page", row_limit=limit, row_offset=offset)]


async def count(tx: Transaction) -> int:
    """How many agents there are."""
    row = await tx.one("agents_count")
    assert row is not None
    return int(row[0])
