"""What the rows of runs promise on every engine: who may write and for how long, stops, budgets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from chatkeep.domain.ids import RunId
from chatkeep.domain.run import Run
from chatkeep.domain.usage import Usage
from chatkeep.store import runs
from chatkeep.store.driver import Store, Transaction
from chatkeep.store.runs import Unheld
from tests.contract.store.journalling import CHAT, SECOND, Journal, run_of
from tests.contract.store.place import ACME, OTHER


class RunsContract(Journal):
    """`store.runs` on an engine: who may write, and for how long."""

    async def test_a_run_comes_back_as_it_was_written(self, ready: Store) -> None:
        plain = replace(run_of(name="plain"), request=None, holder=None, wish={})
        await self.add(ready, run_of(), plain)
        assert await self.got(ready) == run_of()
        assert await self.got(ready, "plain") == replace(plain, first_seq=3)
        assert await find(ready, "nobody") is None
        assert await self.end(ready, run_of())
        assert await self.got(ready) == replace(
            run_of(), wish={}, state="completed", ended_at=50, usage=Usage(3, 4, "0.0015"), response_time_ms=5
        )

    async def test_a_run_ends_once_and_only_by_its_holder(self, ready: Store) -> None:
        await self.add(ready, run_of())
        await self.take(ready, run_of(), "other")
        assert not await self.end(ready, run_of()), "the old holder's word counts no more"
        assert (await self.got(ready)).state == "running"
        assert await self.end(ready, replace(run_of(), epoch=2))
        assert not await self.end(ready, replace(run_of(), epoch=2))

    async def test_of_two_that_take_a_run_one_gets_it(self, ready: Store) -> None:
        await self.add(ready, run_of())
        assert await self.take(ready, run_of(), "a") == 2
        assert await self.take(ready, run_of(), "b") is None
        taken = await self.got(ready)
        assert (taken.holder, taken.epoch, taken.lease_until) == ("a", 2, 200)
        await self.end(ready, taken)
        assert await self.take(ready, taken, "b") is None, "it is over"

    async def test_it_is_held_until_over_taken_or_to_be_stopped(self, ready: Store) -> None:
        await self.add(ready, run_of(), run_of(name="stopped"), run_of(name="ended"))
        assert [await self.held(ready, run_of(name=name)) for name in ("run", "stopped", "ended")] == [
            True
        ] * 3
        await self.take(ready, run_of(), "other")
        await ready.write(ACME, partial(runs.ask_to_stop, chat_id=CHAT, run_id=RunId("stopped"), now=5))
        await self.end(ready, run_of(name="ended"))
        assert [await self.held(ready, run_of(name=name)) for name in ("run", "stopped", "ended")] == [
            False
        ] * 3
        assert await self.held(ready, replace(run_of(), epoch=2))

    async def test_what_is_given_back_may_be_taken_at_once(self, ready: Store) -> None:
        await self.add(ready, run_of())
        assert await self.unheld(ready, now=99) == []
        assert await ready.write(ACME, partial(runs.release, run=run_of(), now=50))
        assert (await self.got(ready)).holder is None
        assert await self.unheld(ready, now=50) == [Unheld(ACME, RunId("run"), 1, True, is_to_stop=False)]
        assert await self.take(ready, run_of(), "other") == 2
        assert await self.unheld(ready, now=50) == []
        assert not await ready.write(ACME, partial(runs.release, run=run_of(), now=60)), "not ours any more"
        assert (await self.got(ready)).holder == "other"

    async def test_a_lease_that_ran_out_is_of_a_dead_holder(self, ready: Store) -> None:
        first, second = run_of(), replace(run_of(SECOND, "run2"), lease_until=90)
        other = run_of(organisation=OTHER)
        await self.add(ready, first, second, other)
        assert await self.unheld(ready, now=89) == []
        assert await self.unheld(ready, now=90) == [Unheld(ACME, RunId("run2"), 1, False, is_to_stop=False)]
        late = await self.unheld(ready, now=100)
        assert {(each.organisation_id, each.run_id) for each in late} == {
            (ACME, "run"),
            (ACME, "run2"),
            (OTHER, "run"),
        }
        assert late[0].run_id == "run2"
        assert await self.unheld(ready, now=100, limit=1) == late[:1]
        await self.end(ready, second)
        assert "run2" not in [each.run_id for each in await self.unheld(ready, now=100)]

    async def test_where_one_alone_can_live_all_others_are_dead(self, ready: Store) -> None:
        await self.add(ready, run_of(), replace(run_of(SECOND, "old"), holder="old"))
        assert await self.unheld(ready, now=1, only_me="me") == [
            Unheld(ACME, RunId("old"), 1, False, is_to_stop=False)
        ]
        await ready.write(ACME, partial(runs.release, run=run_of(), now=1000))
        found_ = await self.unheld(ready, now=1, only_me="me")
        assert {(each.run_id, each.is_handed_over) for each in found_} == {("old", False), ("run", True)}

    async def test_a_holder_renews_its_own_running_runs(self, ready: Store) -> None:
        mine, theirs = run_of(), replace(run_of(SECOND, "theirs"), holder="other")
        ended, abroad = run_of(name="ended"), run_of(organisation=OTHER)
        await self.add(ready, mine, theirs, ended, abroad)
        await self.end(ready, ended)
        lost = run_of(SECOND, "lost")
        await self.add(ready, lost)
        worked_on = [each.id for each in (mine, theirs, ended, abroad)]
        renew = partial(runs.renew, holder="me", run_ids=worked_on, lease_until=500)
        assert await ready.write(None, renew) == 2
        leases = [(await self.got(ready, name)).lease_until for name in ("run", "theirs", "ended", "lost")]
        assert leases == [500, 100, 100, 100]
        assert {each.run_id for each in await self.unheld(ready, now=499)} == {"theirs", "lost"}

    async def test_a_wish_to_stop_is_kept_once_and_found_by_the_holder(self, ready: Store) -> None:
        beside = run_of(name="beside")
        await self.add(ready, run_of(), beside, run_of(SECOND, "run2"), run_of(organisation=OTHER))

        async def ask(run_id: RunId | None, now: int) -> int:
            return await ready.write(ACME, partial(runs.ask_to_stop, chat_id=CHAT, run_id=run_id, now=now))

        assert await ask(RunId("run2"), 5) == 0, "that is another chat's"
        assert await ask(beside.id, 5) == 1
        assert await ask(None, 6) == 1, "only the one that had not been asked"
        assert [(await self.got(ready, name)).stop_requested_at for name in ("beside", "run")] == [5, 6]
        asked = partial(runs.asked_to_stop, holder="me")
        assert set(await ready.read(None, asked)) == {(ACME, "run"), (ACME, "beside")}
        assert await ready.read(None, partial(runs.asked_to_stop, holder="other")) == []
        await self.end(ready, beside)
        assert await ready.read(None, asked) == [(ACME, "run")]

    async def test_runs_of_a_chat_are_listed_newest_first(self, ready: Store) -> None:
        names = [f"run{number}" for number in range(5)]
        await self.add(ready, *(run_of(name=name) for name in names), run_of(SECOND, "run2b"))
        await self.end(ready, run_of(name="run3"))

        async def ids(body: Callable[[Transaction], Awaitable[list[Run]]]) -> list[str]:
            return [str(run.id) for run in await ready.read(ACME, body)]

        newest = partial(runs.of_chat, chat_id=CHAT, before_id=runs.NEWEST, limit=2)
        assert await ids(newest) == ["run4", "run3"]
        assert await ids(partial(runs.of_chat, chat_id=CHAT, before_id="run3", limit=9)) == names[2::-1]
        assert await ids(partial(runs.running_in, chat_id=CHAT)) == ["run0", "run1", "run2", "run4"]

    async def test_reserved_tokens_count_while_their_run_runs(self, ready: Store) -> None:
        await self.add(ready, run_of(), run_of(SECOND, "run2"), reserved_tokens=30)
        await self.add(ready, run_of(organisation=OTHER), reserved_tokens=7)
        assert await ready.read(ACME, runs.running_count) == (2, 60)
        await self.end(ready, run_of())
        assert await ready.read(ACME, runs.running_count) == (1, 30)
        assert await ready.read(OTHER, runs.running_count) == (1, 7)

    async def test_a_budget_counts_from_its_beginning(self, ready: Store) -> None:
        assert await ready.read(ACME, runs.budget) == (0, 0)
        await ready.write(ACME, partial(runs.spend, tokens=0, now=5))
        assert await ready.read(ACME, runs.budget) == (0, 0)
        await ready.write(ACME, partial(runs.spend, tokens=10, now=5))
        await ready.write(ACME, partial(runs.spend, tokens=4, now=9))
        assert await ready.read(ACME, runs.budget) == (5, 14), "since the first of them"
        await ready.write(ACME, partial(runs.begin_budget, now=20))
        assert await ready.read(ACME, runs.budget) == (20, 0)
        assert await ready.read(OTHER, runs.budget) == (0, 0)

    @staticmethod
    async def got(store: Store, name: str = "run") -> Run:
        run = await find(store, name)
        assert run is not None
        return run

    @staticmethod
    async def take(store: Store, run: Run, holder: str) -> int | None:
        return await store.write(ACME, partial(runs.take, run=run, holder=holder, lease_until=200))

    @staticmethod
    async def held(store: Store, run: Run) -> bool:
        return await store.read(ACME, partial(runs.is_held, run=run))

    @staticmethod
    async def unheld(store: Store, *, now: int, only_me: str | None = None, limit: int = 10) -> list[Unheld]:
        return await store.read(None, partial(runs.unheld, now=now, only_me=only_me, limit=limit))


async def find(store: Store, name: str) -> Run | None:
    return await store.read(ACME, partial(runs.get, run_id=RunId(name)))
