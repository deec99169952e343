"""What every engine promises about rows that are put: there for whoever could tell, and each body's or nobody's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from chatkeep.domain.errors import Conflict
from chatkeep.domain.ids import ChatId
from chatkeep.store.driver import Store, Transaction
from tests.contract.store.place import ACME, OTHER, Undo, agents, count_agents, found

CHAT = ChatId("chat")


def putting(*agent_ids: str) -> Callable[[Transaction], Awaitable[None]]:
    async def body(tx: Transaction) -> None:
        await tx.put("agent_insert", [_agent(agent_id) for agent_id in agent_ids])

    return body


class PutContract:
    """Subclass it in a test module with a fixture `store`."""

    @pytest.fixture
    async def ready(self, store: Store) -> Store:
        await found(store, ACME, OTHER)
        return store

    async def test_each_row_is_written(self, ready: Store) -> None:
        async def body(tx: Transaction) -> list[str]:
            await tx.put("agent_insert", [])
            await tx.put("agent_insert", [_agent("a"), _agent("b"), _agent("c")])
            return await agents(tx)

        assert await ready.write(ACME, body) == ["a", "b", "c"]
        assert await ready.read(OTHER, agents) == []

    async def test_one_that_is_in_the_way_is_a_conflict_and_undoes_all(self, ready: Store) -> None:
        async def body(tx: Transaction) -> None:
            await tx.put("agent_insert", [_agent("a"), _agent("b"), _agent("a")])

        with pytest.raises(Conflict):
            await ready.write(ACME, body)
        assert await ready.read(ACME, agents) == []

    async def test_rows_cannot_name_another_organisation(self, ready: Store) -> None:
        async def body(tx: Transaction) -> None:
            await tx.put("agent_insert", [{**_agent("a"), "organisation_id": OTHER}])

        await ready.write(ACME, body)
        assert (await ready.read(ACME, agents), await ready.read(OTHER, agents)) == (["a"], [])

    async def test_a_bound_transaction_refuses_rows_of_the_system(self, ready: Store) -> None:
        async def body(tx: Transaction) -> None:
            await tx.put("system_run_folded", [{"of_organisation": OTHER, "run_id": "one"}])

        with pytest.raises(AssertionError):
            await ready.write(ACME, body)

    async def test_an_unbound_one_takes_nothing_else(self, ready: Store) -> None:
        async def body(tx: Transaction) -> None:
            await tx.put("agent_insert", [{**_agent("a"), "organisation_id": ACME}])

        with pytest.raises(AssertionError):
            await ready.write(None, body)

    async def test_what_was_undone_is_not_there(self, ready: Store) -> None:
        async def body(tx: Transaction) -> None:
            await tx.put("agent_insert", [_agent("a")])
            raise Undo

        with pytest.raises(Undo):
            await ready.write(ACME, body)
        assert await ready.read(ACME, count_agents) == 0

    async def test_one_that_shares_the_commit_sees_what_those_before_it_have_put(self, ready: Store) -> None:
        async def body(tx: Transaction) -> int:
            count = await count_agents(tx)
            await tx.put("agent_insert", [_agent(f"a{count}")])
            return count

        counts = await asyncio.gather(*(ready.write(ACME, body, about=CHAT) for _ in range(20)))
        assert sorted(counts) == list(range(20))

    async def test_a_conflict_is_its_own_bodys_alone(self, ready: Store) -> None:
        await ready.write(ACME, putting("a07", "a13"))
        writes = [ready.write(ACME, putting(f"a{number:02}"), about=CHAT) for number in range(20)]
        done = await asyncio.gather(*writes, return_exceptions=True)
        assert [number for number, each in enumerate(done) if isinstance(each, Conflict)] == [7, 13]
        assert [each for each in done if each is not None and not isinstance(each, Conflict)] == []
        assert await ready.read(ACME, agents) == [f"a{number:02}" for number in range(20)]

    async def test_each_organisation_has_its_own(self, ready: Store) -> None:
        await asyncio.gather(
            *(
                ready.write((ACME, OTHER)[number % 2], putting(f"a{number}"), about=CHAT)
                for number in range(8)
            )
        )
        assert await ready.read(ACME, agents) == ["a0", "a2", "a4", "a6"]
        assert await ready.read(OTHER, agents) == ["a1", "a3", "a5", "a7"]


def _agent(agent_id: str) -> dict[str, None | int | float | str | bytes]:
    return {
        "id": agent_id,
        "name": "agent",
        "prompt": "",
        "greeting_mode": "human",
        "greeting_message": "",
        "model_id": None,
        "created_at": 1,
        "updated_at": 1,
    }
