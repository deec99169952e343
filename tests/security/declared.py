"""How a route is declared to the isolation matrix: what it needs, where ids sit in it, and what each caller gets.

A string that is `@slot` (in path, query or body) is a place an id sits in; the slots are those of `estate.Estate.ids`.
`$slot` is filled in too and is no place: a secret that goes with an id.
One operation may have several rows; the first one without `is_partial` is asked by every kind of caller.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from tests.security.surface import PREFIX_OF, Operation

# Who besides the owner of the thing is served:
#   all       everybody of the organisation whose role has the scope
#   managed   the organisation's owners and admins (a private chat)
#   personal  nobody (a folder)
Reach = Literal["all", "managed", "personal"]
Step = str | int
_PARAMETER = re.compile(r"\{(\w+)(?::[^}]*)?\}")


@dataclass(frozen=True)
class Manners:
    """The statuses of a dialect where a row does not say otherwise, and how a credential is sent."""

    credential: Callable[[str], dict[str, str]]
    unauthenticated: int = 401
    no_scope: int = 403
    not_found: int = 404
    invalid: int = 422


@dataclass(frozen=True)
class Place:
    """One place in a row where an id sits: where (`path`, `query`, `body`), the steps to it, and the slot."""

    where: Literal["path", "query", "body"]
    steps: tuple[Step, ...]
    slot: str

    @property
    def name(self) -> str:
        return ".".join(map(str, (self.where, *self.steps)))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way of asking one operation.

    `ok` is the status for those who may; `wrong` maps a place's name (`body.model_id`) to the status when a foreign or
    unknown id sits there; `malformed` to the status for text that cannot be an id, where that differs. Where a foreign
    id is answered with success (the client chose an id that is free in its own house), `is_fresh` compares answers
    without these ids. `opaque` names fields that look like ids and are not: texts kept as they are. `has_twins` and
    `has_control` are False where no twin can be (what is named is unique on the server), where nobody can be served.
    `of_twin` is the status for a twin, where what it lacks makes it another one than that of a foreign id.
    """

    method: str
    path: str
    at: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    scope: str | None = None
    reach: Reach = "all"
    is_public: bool = False
    is_partial: bool = False
    is_fresh: bool = False
    has_twins: bool = True
    has_control: bool = True
    ok: int = 200
    of_twin: int | None = None
    not_found: int | None = None
    no_scope: int | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)
    wrong: Mapping[str, int] = field(default_factory=dict)
    malformed: Mapping[str, int] = field(default_factory=dict)
    opaque: frozenset[str] = frozenset()

    def places(self) -> list[Place]:
        """Where ids sit in the row."""
        found = [Place("path", (name,), slot) for name, slot in _slots(self.path_ids)]
        found += [Place("query", steps, slot) for steps, slot in _deep_slots(dict(self.query))]
        return found + [Place("body", steps, slot) for steps, slot in _deep_slots(self.body)]

    @property
    def path_ids(self) -> dict[str, str]:
        """The row's value for each parameter of the path."""
        return {name: self.at.get(name, f"@{name.removesuffix('_id')}") for name in parameters(self.path)}

    @property
    def is_of_an_organisation(self) -> bool:
        """Whether the answer depends on who asks or on what is named."""
        return self.has_twins and (not self.is_public or bool(self.places()))

    @property
    def is_idempotent(self) -> bool:
        """Whether it may be sent with an Idempotency-Key."""
        return self.method == "POST" and self.ok < 300 and not self.is_public

    def status_of_wrong(self, place: Place, manners: Manners) -> int:
        """The status when what sits at `place` is foreign or unknown."""
        if place.name in self.wrong:
            return self.wrong[place.name]
        if place.where == "path":
            return manners.not_found if self.not_found is None else self.not_found
        return manners.invalid if place.where == "body" else self.ok


@dataclass(frozen=True)
class Table:
    """All rows of one dialect."""

    dialect: str
    manners: Manners
    rows: tuple[Row, ...]
    opaque: frozenset[str] = frozenset()
    """Fields of any request that look like ids and are not."""

    def operations(self) -> set[Operation]:
        """What the rows declare."""
        return {Operation(self.dialect, row.method, row.path) for row in self.rows}


@dataclass(frozen=True)
class Asked:
    """A request ready to be sent."""

    method: str
    url: str
    query: Mapping[str, Any]
    body: Any
    sent: frozenset[str]
    """The ids in it."""


def fill(table: Table, row: Row, ids: Mapping[str, str], instead: Mapping[Place, str]) -> Asked:
    """The row's request with `ids` in its slots and `instead` in single places."""
    values = {place.name: instead.get(place, ids[place.slot]) for place in row.places()}

    def segment(found: re.Match[str]) -> str:
        name = found.group(1)
        return quote(values.get(f"path.{name}", row.path_ids[name]), safe="@:")

    return Asked(
        method=row.method,
        url=PREFIX_OF.get(table.dialect, "") + _PARAMETER.sub(segment, row.path),
        query={name: _filled(value, values, f"query.{name}", ids) for name, value in row.query.items()},
        body=_filled(row.body, values, "body", ids),
        sent=frozenset(values.values()),
    )


def parameters(path: str) -> list[str]:
    """The parameters of a path template."""
    return _PARAMETER.findall(path)


def _slots(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if value.startswith("@"):
            yield name, value[1:]


def _deep_slots(value: Any, steps: tuple[Step, ...] = ()) -> Iterator[tuple[tuple[Step, ...], str]]:
    if isinstance(value, str) and value.startswith("@"):
        yield steps, value[1:]
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _deep_slots(inner, (*steps, name))
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from _deep_slots(inner, (*steps, position))


def _filled(value: Any, values: Mapping[str, str], at: str, ids: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return ids[value[1:]] if value.startswith("$") else values.get(at, value)
    if isinstance(value, Mapping):
        return {name: _filled(inner, values, f"{at}.{name}", ids) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(inner, values, f"{at}.{position}", ids) for position, inner in enumerate(value)]
    return value
