"""A world's rows and everything else that a test wants back as it was: clock, dice, and what the process remembers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from tests.security.rows import ORGANISATIONS, Rows, key_of
from tests.world import World


class Dice:
    """Ids and secrets that come in the same order after each `turn`, so that answers can be compared byte by byte."""

    def __init__(self) -> None:
        self._thrown = 0

    def turn(self) -> None:
        """Begin anew."""
        self._thrown = 0

    def uuid7(self) -> str:
        """The next id."""
        self._thrown += 1
        return f"01990000-0000-7000-8000-{self._thrown:012x}"

    def secret(self, characters: int) -> str:
        """The next secret."""
        self._thrown += 1
        return f"{self._thrown:0{characters}d}"


class Ledger:
    """All rows of a world's store."""

    def __init__(self, world: World, rows: Rows) -> None:
        self.rows = rows
        self.dice = Dice()
        self._world = world
        self._now: tuple[str, Hashable] = ("", None)
        self._kept_time_us = 0

    async def digest(self, organisation_id: str) -> str:
        """A hash over every row of one organisation, in every table."""
        return await self.rows.digest(organisation_id)

    async def keep(self, state: str) -> None:
        """Remember all rows and the clock under a name for `restore`."""
        await self.rows.keep(state)
        self._now = (state, await self.rows.version())
        self._kept_time_us = self._world.clock._now_us
        object.__setattr__(self._world.system, "entropy", self.dice)  # frozen for everybody else

    async def restore(self, state: str) -> None:
        """Put rows, clock, dice and what the process remembers back to where `keep` found them."""
        self._world.clock._now_us = self._kept_time_us
        rendered = self._world.server.house.rendered
        rendered._bodies.clear()
        rendered._bytes = 0
        self.dice.turn()
        if (state, await self.rows.version()) != self._now:
            await self.rows.put_back(state)
            self._now = (state, await self.rows.version())

    async def erase(self, organisation_id: str) -> None:
        """As if the organisation had never been."""
        statements = (f"DELETE FROM {name} WHERE {key_of(name)} = ?" for name in self.rows.columns)
        await self.rows.change(*((sql, (organisation_id,)) for sql in statements))

    async def clone(
        self, source: str, target: str, *, without: frozenset[str], words: Mapping[str, str]
    ) -> None:
        """Give organisation `target` a copy of every row of `source`, same ids and all, with `words` exchanged."""
        copies: dict[str, list[tuple[Any, ...]]] = {}
        for name, rows in (await self.rows.of(source)).items():
            if name == ORGANISATIONS or name in without:
                continue
            for row in rows:
                copy = dict(
                    zip(self.rows.columns[name], (_exchanged(value, words) for value in row), strict=True)
                )
                copy["organisation_id"] = target
                if name == "principals":
                    copy["email"] = None  # unique on the whole server
                copies.setdefault(name, []).append(tuple(copy.values()))
        await self.rows.change(
            *((f"DELETE FROM {name} WHERE organisation_id = ?", (target,)) for name in copies)
        )
        await self.rows.insert(copies)


def _exchanged(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for old, new in words.items():
            value = value.replace(old, new)
    elif isinstance(value, bytes):
        for old, new in words.items():
            value = value.replace(old.encode(), new.encode())
    return value
