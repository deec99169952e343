"""Rows of nodes: who serves this store, what but one of them does, and what they count together."""

from __future__ import annotations

from dataclasses import dataclass

from chatkeep.domain.ids import ChatId, PrincipalId
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
    await _forget_opened(tx)


async def forget(tx: Transaction, *, before: int, me: str) -> int:
    """Forget nodes other than this one that were not seen since then (system work); how many."""
    forgotten = await tx.run("system_nodes_forget", before=before, me=me)
    await _forget_opened(tx)
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


async def put_sockets(tx: Transaction, chat_id: ChatId, node_id: str, count: int) -> None:
    """How many WebSockets are open in a chat at this node."""
    if count:
        await tx.run("sockets_put", chat_id=chat_id, node_id=node_id, count=count)
    else:
        await tx.run("sockets_none", chat_id=chat_id, node_id=node_id)


async def count_sockets(tx: Transaction, chat_id: ChatId, *, alive_since: int) -> tuple[int, int]:
    """How many WebSockets the organisation and this chat have open at all living nodes."""
    row = await tx.one("sockets_count", chat_id=chat_id, alive_since=alive_since)
    assert row is not None
    return int(row[0]), int(row[1])


async def take_requests(tx: Transaction, wanted: int, *, now: int, over_if_before: int) -> tuple[int, int]:
    """Count so many requests more of the organisation's: when its minute began, and how many they are in it."""
    row = await tx.one("request_rate_take", wanted=wanted, now=now, over_if_before=over_if_before)
    assert row is not None
    return int(row[0]), int(row[1])


async def _forget_opened(tx: Transaction) -> None:
    await tx.run("system_streams_forget")
    await tx.run("system_sockets_forget")
