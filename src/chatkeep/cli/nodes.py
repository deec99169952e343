"""`chatkeep nodes`: the servers of this database that live."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from typing import TYPE_CHECKING

from chatkeep.cli.options import Data
from chatkeep.cli.words import show

if TYPE_CHECKING:
    from chatkeep.services.context import System
    from chatkeep.store.nodes import Node

COLUMNS = ("node", "version", "started", "seen", "streams", "runs")


def nodes(data: Data = None) -> None:
    """The servers of this database that gave a sign of life lately, with what they have open."""
    from chatkeep.cli.office import at_system
    from chatkeep.domain.text import US, iso_z
    from chatkeep.services import nodes as verbs

    async def errand(system: System) -> tuple[list[Node], int]:
        return await verbs.living(system), system.clock.now_us()

    found, now_us = at_system(errand, data)
    rows = (
        (
            each.name,
            each.version,
            iso_z(each.started_at),
            f"{max(now_us - each.seen_at, 0) / US:.0f} s ago",
            str(each.streams),
            str(each.runs),
        )
        for each in found
    )
    show(COLUMNS, rows)
