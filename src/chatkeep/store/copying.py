"""Moves everything from one store into another one of another engine, and proves that it arrived. For the command line.

Knows no table: what there is, its columns, keys and references are read from both databases and must agree. Rows go in
the order of their primary keys, which is the same on both, a page in one transaction; so what is there is always a
beginning, and a copy that was ended anywhere goes on after it. The statements are built here from names that were read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from hashlib import sha256
from typing import Any, Protocol, TypeAlias

import orjson

from chatkeep.domain.errors import Conflict, StoreLost, StoreRefused
from chatkeep.store.agreements import COPY
from chatkeep.store.driver import Row

PAGE_ROWS = 1_000
PAGE_BYTES = 4 * 1024 * 1024
AGREEMENTS = "agreements"
NOT_COPIED: Mapping[str, str] = {
    "nodes": "tells which servers run now",
    "duties": "tells which of those servers does what",
    "open_streams": "tells what is open at those servers",
    "open_sockets": "tells what is open at those servers",
    "request_rates": "tells what was asked within the last minute",
    "commits": "tells their connections what became of a commit that was cut off",
}
"""Tables of running servers, and nothing runs while it is copied: what would be copied is not true any more."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns with their kinds (integer, float, text, bytes), its key, and the tables it refers to."""

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    references: frozenset[str]

    @property
    def hidden(self) -> Row | None:
        """The key of the row that is the copy's own mark."""
        return (COPY,) if self.name == AGREEMENTS else None

    def key_of(self, row: Row) -> Row:
        """The key of a row that has all columns in their order."""
        names = list(self.columns)
        return tuple(row[names.index(each)] for each in self.key)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: rows of all tables that are done, also by earlier tries, and how many there are."""

    verb: str
    table: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Compared:
    """What a table is on both sides. `difference` says where they begin to differ; None if they are equal."""

    table: str
    rows: int
    digest: str
    difference: str | None


class Side(Protocol):
    """A database that is copied from or into; one connection. `name` tells people which, without any password."""

    name: str

    async def tables(self) -> dict[str, Table]:
        """All tables that chatkeep keeps something in."""
        ...

    async def count(self, table: Table) -> int:
        """How many rows it has."""
        ...

    def pages(self, table: Table, after: Row | None) -> AsyncIterator[list[Row]]:
        """All rows with greater keys, in the order of the keys, so many at a time as memory bears."""
        ...

    async def copied_from(self) -> str | None:
        """The name of the source of a copy that is under way into it."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class Source(Side, Protocol):
    """Is read in one snapshot from its opening on."""

    async def check_untouched(self) -> None:
        """Raise `StoreRefused` when somebody has written to it since it was opened."""
        ...


class Target(Side, Protocol):
    """Is written to, a transaction a call."""

    async def begin(self, source_name: str, tables: Sequence[Table]) -> list[str]:
        """Mark it as the target of a copy, unless one of the tables has rows: the names of those."""
        ...

    async def end(self) -> None:
        """Take the mark away."""
        ...

    async def last_key(self, table: Table) -> Row | None:
        """The greatest key."""
        ...

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Write the rows, all or none."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[None]:
        """What is read inside is of one moment."""
        ...


Tell: TypeAlias = Callable[[Progress], None]


async def copy(source: Source, target: Target, tell: Tell) -> list[Compared]:
    """Copy what is not there yet, then read both sides again and compare them; when all is equal the mark goes.

    Raises `StoreRefused` for schemas that differ, for a target that has rows of its own or of another copy, and for a
    source that was written to; the store's errors for what goes wrong on the way. Run again it goes on.
    """
    tables, left_out = agreed(source, await source.tables(), target, await target.tables())
    await _claim(source, target, (*tables, *left_out))
    counts = {table.name: await source.count(table) for table in tables}
    done, total = 0, sum(counts.values())
    for table in tables:
        after = await target.last_key(table)
        done += 0 if after is None else await target.count(table)
        async for page in source.pages(table, after):
            await _insert(target, table, page)
            done += len(page)
            tell(Progress("copied", table.name, done, total))
    compared: list[Compared] = []
    async with target.snapshot():
        for table in tables:
            seen = Progress("compared", table.name, sum(each.rows for each in compared), total)
            compared.append(await compare(table, source, target, seen, tell))
    await source.check_untouched()
    if all(each.difference is None for each in compared):
        await target.end()
    return compared


def agreed(
    source: Side, ours: Mapping[str, Table], target: Side, theirs: Mapping[str, Table]
) -> tuple[list[Table], list[Table]]:
    """The tables to copy, each after those it refers to, and those to leave out. Raises `StoreRefused` if both sides do
    not have the same.
    """
    for name in sorted((ours.keys() ^ theirs.keys()) - NOT_COPIED.keys()):
        where = source.name if name in ours else target.name
        raise StoreRefused(f"The table {name} is in {where} only: nothing can be copied.")
    both = sorted(ours.keys() & theirs.keys())
    for name in both:
        _agree(source, ours[name], target, theirs[name])
    graph = {
        name: sorted((ours[name].references | theirs[name].references) - {name}) for name in sorted(both)
    }
    order = [ours[name] for name in TopologicalSorter(graph).static_order()]
    copied = [table for table in order if table.name not in NOT_COPIED]
    return copied, [table for table in order if table.name in NOT_COPIED]


def _agree(source: Side, ours: Table, target: Side, theirs: Table) -> None:
    for column in sorted(ours.columns.keys() ^ theirs.columns.keys()):
        where = source.name if column in ours.columns else target.name
        raise StoreRefused(f"The column {ours.name}.{column} is in {where} only: nothing can be copied.")
    for column, kind in ours.columns.items():
        if kind != (other := theirs.columns[column]):
            raise StoreRefused(
                f"The column {ours.name}.{column} is {kind} in {source.name} and {other} in {target.name}."
            )
    if ours.key != theirs.key or not ours.key:
        raise StoreRefused(f"The table {ours.name} has not the same primary key on both sides.")


async def _claim(source: Source, target: Target, tables: Sequence[Table]) -> None:
    if (unfinished := await source.copied_from()) is not None:
        raise StoreRefused(f"{source.name} is itself a copy that has not ended, from {unfinished}.")
    begun = await target.copied_from()
    if begun == source.name:
        return
    if begun is not None:
        raise StoreRefused(f"A copy into {target.name} from another source is under way: {begun}.")
    if occupied := await target.begin(source.name, tables):
        raise StoreRefused(
            f"{target.name} has rows already ({', '.join(occupied)}), and not from a copy that is under way."
        )


async def _insert(target: Target, table: Table, page: list[Row]) -> None:
    try:
        await target.insert(table, page)
    except (Conflict, StoreLost) as error:
        first, last = (shown(table.key_of(row)) for row in (page[0], page[-1]))
        raise StoreRefused(f"The rows {first} to {last} of {table.name} were not taken: {error}") from error


@dataclass(slots=True)
class _Reading:
    side: Side
    table: Table
    rows: int = 0
    digest: Any = field(default_factory=sha256)

    async def encoded(self) -> AsyncIterator[tuple[Row, bytes]]:
        async for page in self.side.pages(self.table, None):
            for row in page:
                text = canonical(row)
                self.rows += 1
                self.digest.update(text)
                yield row, text


async def compare(table: Table, source: Side, target: Side, seen: Progress, tell: Tell) -> Compared:
    """Read a table on both sides; `seen` is how far it is before."""
    ours, theirs = _Reading(source, table), _Reading(target, table)
    lefts, rights = ours.encoded(), theirs.encoded()
    difference = None
    while True:
        left, right = await anext(lefts, None), await anext(rights, None)
        if left is None and right is None:
            break
        if difference is None and (left is None or right is None or left[1] != right[1]):
            difference = _difference(table, left and left[0], right and right[0])
        if ours.rows % PAGE_ROWS == 0:
            tell(replace(seen, done=seen.done + ours.rows))
    tell(replace(seen, done=seen.done + ours.rows))
    if difference is not None:
        difference = f"{difference} (rows: {ours.rows} and {theirs.rows})"
    assert (difference is None) == (
        (ours.rows, ours.digest.digest()) == (theirs.rows, theirs.digest.digest())
    )
    return Compared(table.name, ours.rows, ours.digest.hexdigest(), difference)


def _difference(table: Table, ours: Row | None, theirs: Row | None) -> str:
    our_key, their_key = (None if row is None else table.key_of(row) for row in (ours, theirs))
    if our_key is not None and our_key == their_key:
        assert ours is not None
        assert theirs is not None
        pairs = zip(table.columns, ours, theirs, strict=True)
        columns = [name for name, left, right in pairs if canonical((left,)) != canonical((right,))]
        return f"the row {shown(our_key)} differs in {', '.join(columns)}"
    if our_key is not None and (their_key is None or our_key < their_key):
        return f"the row {shown(our_key)} is missing in the target"
    assert their_key is not None
    return f"the row {shown(their_key)} is in the target only"


def canonical(row: Row) -> bytes:
    """One line that is the same for equal rows of whatever engine, and for no others."""
    if any(isinstance(value, float) for value in row):  # JSON has no word for some of them
        row = tuple({"float": value.hex()} if isinstance(value, float) else value for value in row)
    return orjson.dumps(row, default=_bytes_as_json) + b"\n"


def _bytes_as_json(value: object) -> object:
    assert isinstance(value, bytes), f"no column has values of {type(value)}"
    return {"bytes": value.hex()}


def shown(key: Row) -> str:
    """A key for people."""
    return "(" + ", ".join(value.hex() if isinstance(value, bytes) else str(value) for value in key) + ")"


def quoted(*names: str) -> str:
    """Names as SQL takes them, with commas between."""
    return ", ".join('"' + name.replace('"', '""') + '"' for name in names)


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements on one table; `place` writes the nth parameter as the engine does, from 1."""

    table: Table
    place: Callable[[int], str]

    def rows(self, selected: str, after: Row | None, rest: str = "") -> tuple[str, list[Any]]:
        """Select rows after this key, all for None, without the hidden one; the statement and its values."""
        values: list[Any] = []
        conditions = []
        for compared, key in ((">", after), ("<>", self.table.hidden)):
            if key is not None:
                places = ", ".join(self.place(len(values) + n) for n in range(1, len(key) + 1))
                conditions.append(f"({quoted(*self.table.key)}) {compared} ({places})")
                values += key
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT {selected} FROM {quoted(self.table.name)}{where}{rest}", values  # noqa: S608 - names are quoted

    def count(self) -> tuple[str, list[Any]]:
        """How many rows there are."""
        return self.rows("count(*)", None)

    def last_key(self) -> tuple[str, list[Any]]:
        """The greatest key."""
        falling = ", ".join(f"{quoted(each)} DESC" for each in self.table.key)
        return self.rows(quoted(*self.table.key), None, f" ORDER BY {falling} LIMIT 1")

    def in_order(self, after: Row | None) -> tuple[str, list[Any]]:
        """All columns of the rows after this key, in the order of the keys."""
        return self.rows(quoted(*self.table.columns), after, f" ORDER BY {quoted(*self.table.key)}")
