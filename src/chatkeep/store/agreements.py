"""What the servers of one store agree on: whoever says it first has said it for all (system work)."""

from __future__ import annotations

from chatkeep.domain.errors import StoreRefused
from chatkeep.store.driver import Transaction

COPY = "copy under way"
"""As long as it is there: the place that all rows of this store come from, and perhaps not all have come."""


async def agree(tx: Transaction, name: str, value: str) -> str:
    """Propose a value; returns the one that was proposed first."""
    await tx.run("system_agreement_propose", name=name, value=value)
    row = await tx.one("system_agreement_get", name=name)
    assert row is not None
    return str(row[0])


async def end(tx: Transaction, name: str) -> None:
    """From now on there is no agreement of this name."""
    await tx.run("system_agreement_end", name=name)


async def check_whole(tx: Transaction) -> None:
    """Raise `StoreRefused` while a copy into this store is under way."""
    row = await tx.one("system_agreement_get", name=COPY)
    refuse_half_copied(None if row is None else row[0])


def refuse_half_copied(source: str | None) -> None:
    """Raise `StoreRefused` if a copy from there has not ended; None: there is none."""
    if source is not None:
        raise StoreRefused(
            f"A copy from {source} into this database has not ended. Run the same `chatkeep copy` again, it goes on; "
            "until then nothing else may use the database."
        )
