"""Rows of organisations as domain values."""

from __future__ import annotations

from chatkeep.domain.ids import OrganisationId
from chatkeep.domain.principal import Organisation
from chatkeep.store.driver import Transaction


async def insert(tx: Transaction, organisation: Organisation) -> None:
    """Write a new organisation (system work)."""
    await tx.run(
        "system_organisation_insert",
        id=organisation.id,
        name=organisation.name,
        created_at=organisation.created_at,
    )


async def everyone(tx: Transaction) -> list[Organisation]:
    """All organisations of the server, oldest first (system work)."""
    return [Organisation(*row) for row in await tx.all("system_organisations_all")]


async def find(tx: Transaction, organisation_id: OrganisationId) -> Organisation | None:
    """One organisation (system work)."""
    row = await tx.one("system_organisation_get", id=organisation_id)
    return None if row is None else Organisation(*row)


async def lock(tx: Transaction) -> None:
    """From now to its end the only writing transaction of the organisation that does this."""
    await tx.one("organisation_lock")


async def set_suspended(tx: Transaction, organisation_id: OrganisationId, suspended_at: int | None) -> bool:
    """Suspend or, with None, readmit (system work); whether it exists."""
    return await tx.run("system_organisation_suspend", id=organisation_id, suspended_at=suspended_at) > 0
