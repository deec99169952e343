"""Places to keep rows in, by engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import pytest

from chatkeep.ports import SystemEntropy
from chatkeep.services.keyring import Keyring, open_keyring
from chatkeep.store.sqlite import SqliteStore, open_sqlite


class SqlitePlace:
    """One file. Remembers what was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wal = path.with_name(path.name + "-wal")
        self.opened: list[SqliteStore] = []

    def open(self) -> SqliteStore:
        self.opened.append(open_sqlite(self.path))
        return self.opened[-1]


@pytest.fixture
async def sqlite_place(tmp_path: Path) -> AsyncIterator[SqlitePlace]:
    made = SqlitePlace(tmp_path / "chatkeep.db")
    yield made
    for store in made.opened:
        if store.is_healthy():
            await store.close()


@pytest.fixture
def new_sqlite_place(tmp_path: Path) -> Callable[[], SqlitePlace]:
    """A new empty place at each call; whoever opens a store of it closes it."""
    numbers = count()
    return lambda: SqlitePlace(tmp_path / f"{next(numbers)}.db")


@pytest.fixture(scope="session")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    """Secrets for services that ask for some; made once because making them takes long."""
    return open_keyring(tmp_path_factory.mktemp("secrets"), SystemEntropy())
