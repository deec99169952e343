"""The numbered steps that bring a schema up to date, a folder an engine: `0001_first_house.sql`, `0002_…`.

A step that servers of the version before would not stand is a post step: its first line is `-- post`. On SQLite, which
one server uses at a time, all steps are taken at once.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from chatkeep.store.statements import Engine

_NAME = re.compile(r"(\d{4})_\w+\.sql\Z")


class Step(NamedTuple):
    """One step: its number, its statements, and whether older servers must be gone before it."""

    number: int
    sql: str
    is_post: bool


@cache
def load(engine: Engine) -> tuple[Step, ...]:
    """All steps of an engine, from 1 without gaps."""
    folder = files("chatkeep.store") / "migrations" / engine
    texts = sorted(
        (int(found[1]), each.read_text()) for each in folder.iterdir() if (found := _NAME.match(each.name))
    )
    assert [number for number, _ in texts] == list(range(1, len(texts) + 1)), "steps are numbered from 1"
    return tuple(Step(number, sql, sql.startswith("-- post\n")) for number, sql in texts)
