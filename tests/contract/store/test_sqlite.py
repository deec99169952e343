"""The SQLite engine under the store's contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatkeep.store.driver import Store
from chatkeep.store.sqlite import SqliteStore, open_sqlite
from tests.contract.store.tenancy import TenancyContract
from tests.contract.store.transactions import EndContract, TransactionContract


class SqlitePlace:
    """One file. Remembers what was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: list[SqliteStore] = []

    def open(self) -> SqliteStore:
        self.opened.append(open_sqlite(self.path))
        return self.opened[-1]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[SqlitePlace]:
    made = SqlitePlace(tmp_path / "chatkeep.db")
    yield made
    for store in made.opened:
        if store.is_healthy():
            await store.close()


@pytest.fixture
async def store(place: SqlitePlace) -> Store:
    return place.open()


class TestTransactions(TransactionContract):
    """One transaction at a time, and many."""


class TestEnd(EndContract):
    """Closing."""


class TestTenancy(TenancyContract):
    """Every named statement, bound to one organisation, beside another one's rows."""
