"""The servers of one store, as they know each other: signs of life, duties of but one, streams counted together."""

from __future__ import annotations

from collections.abc import Sequence

from chatkeep import __version__
from chatkeep.domain.errors import RateLimited, StoreRefused
from chatkeep.domain.ids import ChatId, OrganisationId, PrincipalId, RunId
from chatkeep.domain.text import US
from chatkeep.services.context import System
from chatkeep.store import agreements, nodes, organisations, runs
from chatkeep.store.driver import Transaction
from chatkeep.store.nodes import Node

SECRETS = "secrets"
STREAMS_RETRY_S = 5
Named = tuple[OrganisationId, RunId]


async def beat(system: System, *, streams_count: int, run_ids: Sequence[RunId]) -> list[Named]:
    """Tell that this node lives and prolong the leases of these runs; returns those that somebody wants stopped.

    Only of runs that are worked on: one that its holder has lost sight of must run out, whatever else that one does.
    """
    now = system.clock.now_us()
    node = Node(
        id=system.node,
        name=system.node_name,
        version=__version__,
        started_at=system.started_at,
        seen_at=now,
        streams=streams_count,
        runs=len(run_ids),
    )

    async def body(tx: Transaction) -> list[Named]:
        await nodes.seen(tx, node)
        if not run_ids:
            return []
        await runs.renew(tx, system.node, run_ids, lease_until=now + int(system.limits.lease_s * US))
        return await runs.asked_to_stop(tx, system.node)

    return await system.store.write(None, body)


async def agree_on_secrets(system: System, *, are_new: bool = False) -> None:
    """See to it that all nodes have the same secrets: without them, a key made at one would be unknown to the others.

    `are_new`: from now on these are the ones. Raises `StoreRefused`.
    """
    mine = system.keyring.fingerprint

    async def body(tx: Transaction) -> str:
        if are_new:
            await agreements.end(tx, SECRETS)
        return await agreements.agree(tx, SECRETS, mine)

    if await system.store.write(None, body) != mine:
        raise StoreRefused(
            "The secrets of this node are not those of the database's other nodes. Give all of them the same folder "
            "(CHATKEEP_SECRETS), or, if the old secrets are lost, run `chatkeep migrate --new-secrets`: keys and "
            "sessions of before are then good no more."
        )


async def leave(system: System) -> None:
    """This node ends in order."""

    async def body(tx: Transaction) -> None:
        await nodes.gone(tx, system.node)

    await system.store.write(None, body)


async def living(system: System) -> list[Node]:
    """The nodes that were heard of within one lease time, oldest first."""
    alive_since = _alive_since(system)
    return [node for node in await system.store.read(None, nodes.everyone) if node.seen_at > alive_since]


async def has_duty(system: System, name: str, *, for_s: float) -> bool:
    """Whether this node is the one to do something that is done by one at a time, for so long."""
    now = system.clock.now_us()

    async def body(tx: Transaction) -> bool:
        return await nodes.take_duty(tx, name, system.node, now=now, until=now + int(for_s * US))

    return await system.store.write(None, body)


async def count_stream(
    system: System, organisation_id: OrganisationId, principal_id: PrincipalId, count: int
) -> None:
    """Tell that a principal has one stream more at this node, `count` now. Raises `RateLimited` when all the nodes
    together have too many open.
    """
    limits = system.limits

    async def body(tx: Transaction) -> None:
        await organisations.lock(tx)
        await nodes.put_streams(tx, principal_id, system.node, count)
        everybodys, own = await nodes.count_streams(tx, principal_id, alive_since=_alive_since(system))
        if everybodys > limits.streams_per_organisation_max or own > limits.streams_per_principal_max:
            raise RateLimited(STREAMS_RETRY_S)

    await system.store.write(organisation_id, body)


async def put_streams(
    system: System, organisation_id: OrganisationId, principal_id: PrincipalId, count: int
) -> None:
    """Tell how many streams a principal has open at this node."""

    async def body(tx: Transaction) -> None:
        await nodes.put_streams(tx, principal_id, system.node, count)

    await system.store.write(organisation_id, body)


async def count_socket(
    system: System, organisation_id: OrganisationId, chat_id: ChatId, count: int, *, most: int
) -> None:
    """Tell that a chat has one WebSocket more at this node, `count` now. Raises `RateLimited` when its organisation has
    more than `most` at all the nodes together.
    """

    async def body(tx: Transaction) -> None:
        await organisations.lock(tx)
        await nodes.put_sockets(tx, chat_id, system.node, count)
        if (await nodes.count_sockets(tx, chat_id, alive_since=_alive_since(system)))[0] > most:
            raise RateLimited(STREAMS_RETRY_S)

    await system.store.write(organisation_id, body)


async def put_sockets(system: System, organisation_id: OrganisationId, chat_id: ChatId, count: int) -> None:
    """Tell how many WebSockets a chat has open at this node."""

    async def body(tx: Transaction) -> None:
        await nodes.put_sockets(tx, chat_id, system.node, count)

    await system.store.write(organisation_id, body)


async def sockets_in(tx: Transaction, system: System, chat_id: ChatId) -> int:
    """How many WebSockets are open in a chat at all living nodes, of those that are counted so."""
    return (await nodes.count_sockets(tx, chat_id, alive_since=_alive_since(system)))[1]


async def take_requests(
    system: System, organisation_id: OrganisationId, wanted: int, *, window_s: int
) -> tuple[int, int]:
    """Count so many requests more of the organisation's: when its window began, microseconds UTC, and how many of all
    nodes are in it now.
    """
    now = system.clock.now_us()

    async def body(tx: Transaction) -> tuple[int, int]:
        return await nodes.take_requests(tx, wanted, now=now, over_if_before=now - window_s * US)

    return await system.store.write(organisation_id, body)


def _alive_since(system: System) -> int:
    return system.clock.now_us() - int(system.limits.lease_s * US)
