"""Loads the named SQL of `queries/*.sql` for one engine: what all share, and the engine's own in its folder.

A statement whose comment says `locks: t` takes the rows that it reads from `t` for the writing transaction it is used
in, where an engine lets several write at once: it sees what was committed last, and nobody changes that before the
transaction ends.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any, Literal

import aiosql

SYSTEM = "system_"
Engine = Literal["sqlite", "postgres"]
_LOCKS = re.compile(r"^locks: (.+)$", re.MULTILINE)
_PARAMETER = re.compile(r"(?<!:):([a-z]\w*)")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Numbered:
    """A statement with its parameters as `$1`, `$2`, … and which they are; `locking` is its text in a write, `table`
    where an INSERT puts its rows.
    """

    text: str
    locking: str
    names: tuple[str, ...]
    is_write: bool
    words: frozenset[str]
    table: str

    def may_tell(self, tables: Collection[str]) -> bool:
        """Whether it may depend on what is in one of these tables. What is deleted takes others' rows with it."""
        return "DELETE" in self.words or not self.words.isdisjoint(tables)


def load(engine: Engine) -> dict[str, str]:
    """All statements by name, with parameters as `:name`."""
    return {name: text for name, (text, _) in _load(engine).items()}


@cache
def load_numbered(engine: Engine) -> dict[str, Numbered]:
    """All statements by name, for an engine that numbers parameters and locks rows."""
    return {name: _numbered(text, locked) for name, (text, locked) in _load(engine).items()}


@cache
def _load(engine: Engine) -> dict[str, tuple[str, str | None]]:
    found: dict[str, tuple[str, str | None]] = {}
    with as_file(files("chatkeep.store") / "queries") as folder:
        for path in sorted((*folder.glob("*.sql"), *(folder / engine).glob("*.sql"))):
            queries: Any = aiosql.from_path(path, "apsw", mandatory_parameters=False)
            for name in queries.available_queries:
                query = getattr(queries, name)
                locks = _LOCKS.search(query.__doc__ or "")
                found[name] = query.sql, locks and locks[1]
    return {name: each for name, each in found.items() if not name.endswith("_cursor")}


def _numbered(text: str, locked: str | None) -> Numbered:
    names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    numbered = _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", text).strip().rstrip(";")
    locking = numbered if locked is None else f"{numbered}\nFOR NO KEY UPDATE OF {locked}"
    return Numbered(
        numbered,
        locking,
        names,
        is_write=not numbered.startswith("SELECT"),
        words=frozenset(_WORD.findall(numbered)),
        table=numbered.split()[2] if numbered.startswith("INSERT") else "",
    )
