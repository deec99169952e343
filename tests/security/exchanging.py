"""Stores whose statements can be exchanged while they run, and which note what they are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from chatkeep.store import statements
from chatkeep.store.statements import Engine

PREDICATE = re.compile(r"\b(\w+\.)?organisation_id = :organisation_id\b")
OWN_ID = re.compile(r"\bid = :organisation_id\b")
JOIN = re.compile(r"\b(\w+\.organisation_id = \w+\.organisation_id|o\.id = \w+\.organisation_id)\b")
ALWAYS: Mapping[Engine, str] = {
    "sqlite": ":organisation_id IS NOT NULL",
    "postgres": ":organisation_id::text IS NOT NULL",
}


class Statements(dict[str, Any]):
    """A store's own copy of its statements, with those that were asked for."""

    def __init__(self, sql: Mapping[str, Any]) -> None:
        super().__init__(sql)
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.used.add(name)
        return super().__getitem__(name)


@contextmanager
def exchangeable() -> Iterator[None]:
    """Stores that are opened meanwhile have statements of their own."""
    load, load_numbered = statements.load, statements.load_numbered
    statements.load = lambda engine: Statements(load(engine))
    statements.load_numbered = lambda engine: Statements(load_numbered(engine))  # type: ignore[assignment]  # a cache
    try:
        yield
    finally:
        statements.load, statements.load_numbered = load, load_numbered


@contextmanager
def exchanged(store: Any, others: Mapping[str, Any]) -> Iterator[Statements]:
    """The store runs these statements instead of those of the same name."""
    own: Statements = store._sql
    before = dict(own.items())
    own.update(others)
    own.used.clear()
    store._recalled.clear()  # what other statements found
    try:
        yield own
    finally:
        own.update(before)
        store._recalled.clear()


def without(engine: Engine, name: str, *predicates: re.Pattern[str]) -> Any:
    """The statement as the engine runs it, but with something that is always true in place of these predicates."""
    text, locked = statements._load(engine)[name]
    for predicate in predicates:
        text = predicate.sub("1 = 1" if predicate is JOIN else ALWAYS[engine], text)
    return text if engine == "sqlite" else statements._numbered(text, locked)


def forgetful(engine: Engine) -> dict[str, Any]:
    """All statements that are bound to an organisation, without that."""
    return {
        name: without(engine, name, PREDICATE, OWN_ID)
        for name, text in statements.load(engine).items()
        if PREDICATE.search(text) or OWN_ID.search(text)
    }
