"""What every engine promises about single transactions: `write`, `read`, `peek`, `recall` and their ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any

import pytest

from chatkeep.domain.errors import ChatkeepError, Conflict, InvalidField, ShuttingDown
from chatkeep.domain.ids import OrganisationId
from chatkeep.store.driver import Store, Transaction
from tests.contract.store.place import ACME, OTHER, Place, Undo, add_agent, agents, count_agents, found

ReadVerb = Callable[[Store, OrganisationId | None, Any], Awaitable[Any]]
READS: dict[str, ReadVerb] = {
    "read": lambda store, organisation, body: store.read(organisation, body),
    "peek": lambda store, organisation, body: store.peek(organisation, body),
    "recall": lambda store, organisation, body: store.recall(
        organisation, ("test", organisation, body), body
    ),
}


async def moment(store: Store) -> Hashable | None:
    """What the store tells now."""
    told: asyncio.Future[Hashable | None] = asyncio.get_running_loop().create_future()
    store.tell_moment(told.set_result)
    return await told


VERBS: dict[str, ReadVerb] = {
    **READS,
    "write": lambda store, organisation, body: store.write(organisation, body),
}


def adding(agent_id: str) -> Callable[[Transaction], Awaitable[None]]:
    async def body(tx: Transaction) -> None:
        await add_agent(tx, agent_id)

    return body


NAMED: dict[str, Any] = {"principal_id": "p", "route": "r", "key": "k"}
CLAIM: dict[str, Any] = {**NAMED, "fingerprint": b"print", "created_at": 1, "not_before": 0}


class TransactionContract:
    """Subclass it in a test module with fixtures `place` and `store`; the latter holds two empty organisations."""

    @pytest.fixture
    async def ready(self, store: Store) -> Store:
        await found(store, ACME, OTHER)
        return store

    async def test_write_returns_what_its_body_returned(self, ready: Store) -> None:
        async def body(tx: Transaction) -> tuple[int, str]:
            await add_agent(tx, "a")
            return await count_agents(tx), "done"

        assert await ready.write(ACME, body) == (1, "done")

    @pytest.mark.parametrize("verb", READS)
    async def test_a_write_is_seen_as_soon_as_it_returns(self, ready: Store, verb: str) -> None:
        for number in range(1, 30):
            await ready.write(ACME, adding(f"a{number}"))
            assert await READS[verb](ready, ACME, count_agents) == number

    @pytest.mark.parametrize("verb", READS)
    async def test_another_store_of_the_place_sees_it_too(
        self, ready: Store, place: Place, verb: str
    ) -> None:
        second = place.open()
        for number in range(1, 10):
            await ready.write(ACME, adding(f"a{number}"))
            assert await READS[verb](second, ACME, count_agents) == number

    async def test_run_tells_how_many_rows_it_touched(self, ready: Store) -> None:
        async def body(tx: Transaction) -> tuple[int, int]:
            return (
                await tx.run("principal_set_role", id="nobody", role="member"),
                await tx.run("idempotency_claim", **CLAIM),
            )

        assert await ready.write(ACME, body) == (0, 1)

    @pytest.mark.parametrize(
        ("status", "body"),
        [(None, None), (0, b""), (2**63 - 1, bytes(range(256))), (-(2**63), "ü\U0001f600\u2028".encode())],
    )
    async def test_values_come_back_as_they_were(self, ready: Store, status: int | None, body: bytes) -> None:
        async def put(tx: Transaction) -> None:
            await tx.run("idempotency_claim", **CLAIM)
            await tx.run("idempotency_note", **NAMED, chat_id=None, status=status, body=body, headers="{}")

        async def get(tx: Transaction) -> Any:
            return await tx.one("idempotency_get", **NAMED)

        await ready.write(ACME, put)
        assert await ready.read(ACME, get) == (b"print", status, body, "{}")

    async def test_text_comes_back_code_point_by_code_point(self, ready: Store) -> None:
        said = "a\u0301 \U0001f468\u200d\U0001f469 \u202e \ufeff \uffff \u2028 'quoted' \"\\ \t\r\n"

        async def body(tx: Transaction) -> None:
            await add_agent(tx, "a", name=said)

        async def get(tx: Transaction) -> Any:
            return await tx.one("agent_get", id="a")

        await ready.write(ACME, body)
        row = await ready.read(ACME, get)
        assert row[2] == said

    async def test_an_exception_undoes_its_own_body_and_no_other(self, ready: Store) -> None:
        async def body(tx: Transaction, number: int) -> int:
            await add_agent(tx, f"a{number:02}")
            if number % 3 == 0:
                raise InvalidField("number", "is bad")
            if number % 3 == 1:
                raise ZeroDivisionError
            return number

        writes = [ready.write(ACME, partial(body, number=number)) for number in range(60)]
        results = await asyncio.gather(*writes, return_exceptions=True)
        good = [number for number in range(60) if number % 3 == 2]
        assert [result for result in results if isinstance(result, int)] == good
        assert {type(result) for result in results} == {int, InvalidField, ZeroDivisionError}
        assert await ready.read(ACME, agents) == [f"a{number:02}" for number in good]

    @pytest.mark.parametrize("verb", VERBS)
    async def test_an_exception_reaches_the_caller_as_it_is(self, ready: Store, verb: str) -> None:
        raised = InvalidField("x", "y")

        async def body(tx: Transaction) -> None:
            await count_agents(tx)
            raise raised

        with pytest.raises(InvalidField) as caught:
            await VERBS[verb](ready, ACME, body)
        assert caught.value is raised
        assert await READS["read"](ready, ACME, count_agents) == 0

    async def test_a_taken_key_is_a_conflict(self, ready: Store) -> None:
        await ready.write(ACME, adding("a"))

        async def body(tx: Transaction) -> None:
            await add_agent(tx, "b")
            await add_agent(tx, "a")

        with pytest.raises(Conflict):
            await ready.write(ACME, body)
        assert await ready.read(ACME, agents) == ["a"]

    async def test_a_reference_to_nothing_is_a_conflict(self, ready: Store) -> None:
        async def body(tx: Transaction) -> None:
            await tx.run("chat_people_insert", chat_id="nothing", principal_id="nobody")

        with pytest.raises(Conflict):
            await ready.write(ACME, body)

    async def test_an_id_may_be_taken_in_another_organisation(self, ready: Store) -> None:
        await ready.write(ACME, adding("a"))
        await ready.write(OTHER, adding("a"))
        assert await ready.read(OTHER, agents) == ["a"]

    @pytest.mark.parametrize("verb", VERBS)
    async def test_a_bound_transaction_refuses_work_of_the_system(self, ready: Store, verb: str) -> None:
        async def body(tx: Transaction) -> None:
            await tx.all("system_organisations_all")

        with pytest.raises(AssertionError):
            await VERBS[verb](ready, ACME, body)

    @pytest.mark.parametrize("verb", VERBS)
    async def test_an_unbound_transaction_takes_nothing_else(self, ready: Store, verb: str) -> None:
        with pytest.raises(AssertionError):
            await VERBS[verb](ready, None, count_agents)

    @pytest.mark.parametrize("verb", VERBS)
    async def test_a_body_cannot_name_another_organisation(self, ready: Store, verb: str) -> None:
        await ready.write(OTHER, adding("a"))

        async def body(tx: Transaction) -> Any:
            return await tx.one("agent_get", id="a", organisation_id=OTHER)

        assert await VERBS[verb](ready, ACME, body) is None

    @pytest.mark.parametrize("verb", READS)
    async def test_reads_cannot_write(self, ready: Store, verb: str) -> None:
        with pytest.raises(ChatkeepError):
            await READS[verb](ready, ACME, adding("a"))
        assert await ready.read(ACME, count_agents) == 0

    async def test_a_cancelled_write_is_whole_or_not_there(self, ready: Store) -> None:
        async def pair(tx: Transaction, number: int) -> None:
            await add_agent(tx, f"left{number}")
            await add_agent(tx, f"right{number}")

        tasks = [asyncio.create_task(ready.write(ACME, partial(pair, number=number))) for number in range(50)]
        for number in range(0, 50, 2):
            await asyncio.sleep(0)
            tasks[number].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await ready.write(ACME, adding("after"))
        there = set(await ready.read(ACME, agents))
        assert {type(result) for result in results[1::2]} == {type(None)}
        assert all(f"left{number}" in there for number in range(1, 50, 2))
        assert {name[4:] for name in there if name.startswith("left")} == {
            name[5:] for name in there if name.startswith("right")
        }

    async def test_a_cancelled_read_leaves_its_reader_usable(self, ready: Store) -> None:
        for _ in range(10):
            task = asyncio.create_task(ready.read(ACME, count_agents))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert await ready.read(ACME, count_agents) == 0

    async def test_recall_never_answers_from_before_a_commit(self, ready: Store, place: Place) -> None:
        second = place.open()
        for number in range(1, 40):
            writer = ready if number % 2 else second
            await ready.recall(ACME, "count", count_agents)
            await writer.write(ACME, adding(f"a{number}"))
            assert await ready.recall(ACME, "count", count_agents) == number
            assert await second.recall(ACME, "count", count_agents) == number

    async def test_the_moment_moves_with_every_commit_of_anybody_and_else_stays(
        self, ready: Store, place: Place
    ) -> None:
        second = place.open()
        seen = [await moment(ready)]
        for number in range(1, 40):
            writer = ready if number % 2 else second
            await writer.write(ACME, adding(f"a{number}"))
            assert await moment(ready) not in seen
            seen.append(await moment(ready))
            await ready.read(ACME, count_agents)
            await second.peek(ACME, count_agents)
            if not ready.is_shared:  # else it is that of all databases of the server
                assert await moment(ready) == seen[-1]
        await second.close()
        assert await moment(second) is None

    async def test_recall_keeps_keys_apart(self, ready: Store) -> None:
        await ready.write(ACME, adding("a"))
        seen = [
            await ready.recall(each, (each, "count"), count_agents) for each in (ACME, OTHER, ACME, OTHER)
        ]
        assert seen == [1, 0, 1, 0]

    async def test_an_undone_write_is_not_recalled(self, ready: Store) -> None:
        async def body(tx: Transaction) -> None:
            await add_agent(tx, "a")
            raise Undo

        with pytest.raises(Undo):
            await ready.write(ACME, body)
        assert await ready.recall(ACME, "count", count_agents) == 0


class EndContract:
    """What closing a store promises."""

    async def test_close_finishes_what_was_accepted(self, place: Place) -> None:
        store = place.open()
        await found(store, ACME)
        tasks = [asyncio.create_task(store.write(ACME, adding(f"a{number}"))) for number in range(100)]
        await asyncio.sleep(0)
        await store.close()
        assert await asyncio.gather(*tasks) == [None] * 100
        assert await place.open().read(ACME, count_agents) == 100

    @pytest.mark.parametrize("verb", VERBS)
    async def test_a_closed_store_refuses(self, place: Place, verb: str) -> None:
        store = place.open()
        await found(store, ACME)
        assert store.is_healthy()
        await store.close()
        assert not store.is_healthy()
        with pytest.raises(ShuttingDown):
            await VERBS[verb](store, ACME, count_agents)
