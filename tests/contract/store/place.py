"""What an engine's subclass must bring: somewhere durable that can be opened, and opened again.

The suites talk to the store through named statements only, as the services do.
"""

from __future__ import annotations

from typing import Protocol

from chatkeep.domain.ids import OrganisationId
from chatkeep.store import statements
from chatkeep.store.driver import Row, Store, Transaction

ACME, OTHER, EMPTY = OrganisationId("acme"), OrganisationId("other"), OrganisationId("empty")


class Place(Protocol):
    """One durable place of an engine, empty at first. The fixture closes what a test leaves open."""

    def open(self) -> Store:
        """Open it; what is there already stays there. May be called while another store of it is open."""
        ...


class Undo(Exception):
    """Raised by a body that wants nothing of itself to stay."""


async def found(store: Store, *ids: OrganisationId) -> None:
    """Write organisations without anything in them."""

    async def body(tx: Transaction) -> None:
        for organisation_id in ids:
            await tx.run("system_organisation_insert", id=organisation_id, name=organisation_id, created_at=1)

    await store.write(None, body)


async def add_agent(tx: Transaction, agent_id: str, *, name: str = "agent") -> None:
    """One small row of a table without references, to count writes with."""
    await tx.run(
        "agent_insert",
        id=agent_id,
        name=name,
        prompt="",
        greeting_mode="human",
        greeting_message="",
        model_id=None,
        created_at=1,
        updated_at=1,
    )


async def agents(tx: Transaction) -> list[str]:
    """The ids of all agents in the order of their ids."""
    return [row[1] for row in await tx.all("agents_page", row_limit=1_000_000, row_offset=0)]


async def count_agents(tx: Transaction) -> int:
    """How many agents there are."""
    row: Row | None = await tx.one("agents_count")
    assert row is not None
    return int(row[0])


def texts() -> dict[str, str]:
    """The text of every named statement."""
    return statements.load("sqlite")
