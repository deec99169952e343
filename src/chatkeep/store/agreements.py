"""What the servers of one store agree on: whoever says it first has said it for all (system work)."""

from __future__ import annotations

from chatkeep.store.driver import Transaction


async def agree(tx: Transaction, name: str, value: str) -> str:
    """Propose a value; returns the one that was proposed first."""
    await tx.run("system_agreement_propose", name=name, value=value)
    row = await tx.one("system_agreement_get", name=name)
    assert row is not None
    return str(row[0])
