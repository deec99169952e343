"""Rows of nodes: who serves this store, what but one of them does, and how many streams each has open."""

from __future__ import annotations

from dataclasses import dataclass

from chatkeep.domain.ids import PrincipalId
from chatkeep.store.driver import Transaction


@dataclass(frozen=True, slots=True)
class Node:
    """One server of the store, as it was at `seen_at`; times in microseconds UTC."""

    id: str
    name: str
    version: str
    started_at: int
    seen_at: int
    streams: int
    runs: int


async def seen(tx: Transaction, node: Node) -> None:
    """Tell that a node lives (system work)."""
    await tx.run(
        "system_node_seen",
        id=node.id,
        name=node.name,
        version=node.version,
        started_at=node.started_at,
        seen_at=node.seen_at,
        streams=node.streams,
        runs=node.runs,
    )


async def everyone(tx: Transaction) -> list[Node]:
    """All nodes that were not forgotten yet, oldest first (system work)."""
    return [Node(*row) for row in await tx.all("system_nodes_all")]


async def gone(tx: Transaction, node_id: str) -> None:
    """A node has ended in order (system work)."""
    await tx.run("system_node_gone", id=node_id)
    await tx.run("system_streams_forget")


async def forget(tx: Transaction, *, before: int, me: str) -> int:
    """Forget nodes other than this one that were not seen since then (system work); how many."""
    forgotten = await tx.run("system_nodes_forget", before=before, me=me)
    await tx.run("system_streams_forget")
    return forgotten


async def take_duty(tx: Transaction, name: str, holder: str, *, now: int, until: int) -> bool:
    """Be the one who does this until then (system work). False while another one is."""
    return await tx.run("system_duty_take", name=name, holder=holder, now=now, until=until) > 0


async def put_streams(tx: Transaction, principal_id: PrincipalId, node_id: str, count: int) -> None:
    """How many streams a principal has open at this node."""
    await tx.run("streams_put", principal_id=principal_id, node_id=node_id, count=count)


async def count_streams(tx: Transaction, principal_id: PrincipalId, *, alive_since: int) -> tuple[int, int]:
    """How many streams the organisation and this principal have open at all living nodes."""
    row = await tx.one("streams_count", principal_id=principal_id, alive_since=alive_since)
    assert row is not None
    return int(row[0]), int(row[1])
