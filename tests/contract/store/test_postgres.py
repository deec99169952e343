"""The PostgreSQL engine under the store's contract."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import pytest

from chatkeep.ports import SystemClock
from chatkeep.store import statements
from chatkeep.store.driver import Store
from chatkeep.store.postgres import PostgresStore
from chatkeep.store.postgres_moment import DatabaseClock
from tests.contract.store.journalling import DeltasContract, EventsContract
from tests.contract.store.leasing import RunsContract
from tests.contract.store.life import LifeContract
from tests.contract.store.listening import ListenContract
from tests.contract.store.putting import PutContract
from tests.contract.store.tenancy import BOUND, TenancyContract, is_insert, is_read
from tests.contract.store.throttling import ThrottleContract
from tests.contract.store.transactions import EndContract, TransactionContract
from tests.postgres.databases import Databases


class PostgresPlace:
    """One database. Remembers what was opened."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opened: list[PostgresStore] = []

    def open(self) -> PostgresStore:
        self.opened.append(PostgresStore(self.url, DatabaseClock(SystemClock().now_us())))
        return self.opened[-1]


@pytest.fixture
async def place(postgres_url: str) -> AsyncIterator[PostgresPlace]:
    made = PostgresPlace(postgres_url)
    yield made
    for store in made.opened:
        await store.close()


@pytest.fixture
async def store(place: PostgresPlace) -> Store:
    return place.open()


@pytest.fixture
def new_place(postgres_databases: Databases) -> Iterator[Callable[[], PostgresPlace]]:
    lent: list[str] = []

    def make() -> PostgresPlace:
        lent.append(postgres_databases.fresh())
        return PostgresPlace(lent[-1])

    yield make
    for url in lent:
        postgres_databases.drop(url)


class TestTransactions(TransactionContract):
    """One transaction at a time, and many."""


class TestEnd(EndContract):
    """Closing."""


class TestPut(PutContract):
    """Rows that may wait."""


class TestListen(ListenContract):
    """Events after their commits."""


class TestEvents(EventsContract):
    """The journal's rows."""


class TestDeltas(DeltasContract):
    """Pieces of answers."""


class TestRuns(RunsContract):
    """Leases and ends."""


class TestThrottle(ThrottleContract):
    """Sign-ins that fail."""


class TestTenancy(TenancyContract):
    """Every named statement, bound to one organisation, beside another one's rows."""

    @pytest.mark.parametrize("name", [name for name in BOUND if not is_insert(name)])
    async def test_row_level_security_stands_where_a_statement_forgot_its_organisation(
        self, furnished: PostgresStore, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        numbered = statements.load_numbered("postgres")[name]
        forgetful = _forgetful(numbered)
        assert forgetful != numbered
        monkeypatch.setitem(furnished._sql, name, forgetful)  # one dictionary for all stores of the process
        if is_read(name):
            await self.test_reads_show_their_own_rows_only(furnished)
            await self.test_reads_show_nothing_of_others_where_there_is_nothing(furnished)
        else:
            await self.test_writes_touch_their_own_rows_only(furnished, name)


def _forgetful(numbered: statements.Numbered) -> statements.Numbered:
    number = numbered.names.index("organisation_id") + 1

    def forget(text: str) -> str:
        return re.sub(rf"\b(\w\.)?(organisation_id|id) = \${number}\b", f"${number}::text IS NOT NULL", text)

    return replace(numbered, text=forget(numbered.text), locking=forget(numbered.locking))


class TestLife(LifeContract):
    """Chats as a person uses them, beside a model of dictionaries."""
