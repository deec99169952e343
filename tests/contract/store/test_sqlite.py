"""The SQLite engine under the store's contract."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from chatkeep.domain.event import Event
from chatkeep.store.driver import Store, Transaction
from chatkeep.store.sqlite import SqliteStore
from tests.contract.store.conftest import SqlitePlace
from tests.contract.store.journalling import DeltasContract, EventsContract
from tests.contract.store.leasing import RunsContract
from tests.contract.store.life import LifeContract
from tests.contract.store.listening import Heard, ListenContract, announcing
from tests.contract.store.place import ACME, add_agent, count_agents, found, texts
from tests.contract.store.putting import PutContract
from tests.contract.store.tenancy import BOUND, TenancyContract, is_insert, is_read
from tests.contract.store.throttling import ThrottleContract
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

    async def test_writes_keep_the_order_they_were_asked_in(self, ready: Store) -> None:
        async def body(tx: Transaction, number: int) -> int:
            await add_agent(tx, f"a{number}")
            return await count_agents(tx)

        writes = [ready.write(ACME, partial(body, number=number)) for number in range(200)]
        assert await asyncio.gather(*writes) == list(range(1, 201))


class TestEnd(EndContract):
    """Closing."""


class TestPut(PutContract):
    """Rows that may wait."""


class TestListen(ListenContract):
    """Events after their commits."""

    async def test_a_body_that_is_run_again_tells_once(self, place: SqlitePlace) -> None:
        store = place.open()
        await found(store, ACME)
        heard = Heard(store)
        submit = store._writer.submit

        async def twice(step: Callable[[], Any], events: Sequence[Event] = ()) -> Any:
            def again() -> Any:
                store._writer.connection.execute("SAVEPOINT first")
                step()
                store._writer.connection.execute("ROLLBACK TO first")
                return step()

            return await submit(again, events)

        store._writer.submit = twice  # type: ignore[method-assign]  # as after a conflict between engines
        await store.write(ACME, announcing(1, 2))
        assert heard.calls == [[1, 2]]


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
    async def test_a_statement_that_forgot_its_organisation_would_be_seen(
        self, furnished: SqliteStore, name: str
    ) -> None:
        forgetful = re.sub(r"\b(\w\.)?(organisation_id|id) = :organisation_id", "1 = 1", texts()[name])
        assert forgetful != texts()[name]
        furnished._sql = {**furnished._sql, name: forgetful}
        with pytest.raises(AssertionError):
            await self._judge(furnished, name)

    async def _judge(self, furnished: SqliteStore, name: str) -> None:
        if is_read(name):
            await self.test_reads_show_their_own_rows_only(furnished)
            await self.test_reads_show_nothing_of_others_where_there_is_nothing(furnished)
        else:
            await self.test_writes_touch_their_own_rows_only(furnished, name)


class TestLife(LifeContract):
    """Chats as a person uses them, beside a model of dictionaries."""
