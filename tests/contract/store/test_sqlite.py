"""The SQLite engine under the store's contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chatkeep.store.driver import Store
from tests.contract.store.conftest import SqlitePlace
from tests.contract.store.life import LifeContract
from tests.contract.store.tenancy import TenancyContract
from tests.contract.store.transactions import EndContract, TransactionContract


@pytest.fixture
def place(sqlite_place: SqlitePlace) -> SqlitePlace:
    return sqlite_place


@pytest.fixture
async def store(place: SqlitePlace) -> Store:
    return place.open()


@pytest.fixture
def new_place(new_sqlite_place: Callable[[], SqlitePlace]) -> Callable[[], SqlitePlace]:
    return new_sqlite_place


class TestTransactions(TransactionContract):
    """One transaction at a time, and many."""


class TestEnd(EndContract):
    """Closing."""


class TestTenancy(TenancyContract):
    """Every named statement, bound to one organisation, beside another one's rows."""


class TestLife(LifeContract):
    """Chats as a person uses them, beside a model of dictionaries."""
