"""What the rows of the journal promise on every engine: sequences, pieces of answers under an epoch, folding."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest

from chatkeep.domain.errors import Conflict
from chatkeep.domain.event import Event, EventKind
from chatkeep.domain.ids import ChatId, MessageId, ModelId, OrganisationId, PrincipalId, RunId
from chatkeep.domain.message import Message
from chatkeep.domain.run import Run
from chatkeep.domain.usage import Usage
from chatkeep.store import chats, events, messages, runs
from chatkeep.store.driver import Store, Transaction
from chatkeep.store.events import Delta, Head
from tests.contract.store.listening import Heard
from tests.contract.store.place import ACME, OTHER, found
from tests.contract.store.tenancy import values

CHAT, SECOND = ChatId("chat"), ChatId("second")
PEOPLE = (ACME, OTHER)


def run_of(chat_id: ChatId = CHAT, name: str = "run", *, organisation: OrganisationId = ACME) -> Run:
    """A running run whose first event is the chat's second."""
    return Run(
        organisation_id=organisation,
        id=RunId(name),
        chat_id=chat_id,
        principal_id=PrincipalId("one"),
        question_id=MessageId("question"),
        answer_id=MessageId(f"answer of {name}"),
        model_id=ModelId("one"),
        wish={"max_tokens": 5},
        request={"route": "r", "key": "k"},
        state="running",
        first_seq=2,
        epoch=1,
        holder="me",
        lease_until=100,
        stop_requested_at=None,
        usage=None,
        response_time_ms=None,
        started_at=10,
        ended_at=None,
        error=None,
    )


def message(number: int, content: str = "text", **changes: object) -> Message:
    plain = Message(CHAT, MessageId(f"m{number}"), number, None, "user", content, 1, 1)
    return replace(plain, **changes)  # type: ignore[arg-type]  # names of fields


class Journal:
    """A store in which two organisations have the same two chats, each with its first event."""

    @pytest.fixture
    async def ready(self, store: Store) -> Store:
        await found(store, *PEOPLE)
        for organisation in PEOPLE:

            async def body(tx: Transaction, word: str = organisation) -> None:
                await tx.run("principal_insert", **values("principal_insert", word))
                await tx.run("model_insert", **values("model_insert", word))
                await tx.run("agent_insert", **values("agent_insert", word))
                await tx.run("folder_insert", **values("folder_insert", word))
                for chat_id in (CHAT, SECOND):
                    await tx.run("chat_insert", **{**values("chat_insert", word), "id": chat_id})
                    await events.append(tx, chat_id, 1, 1, events.Told("chat.created"))

            await store.write(organisation, body)
        return store

    @staticmethod
    async def add(store: Store, *of: Run, reserved_tokens: int = 0) -> None:
        """Write runs, each with its `run.started`."""
        for run in of:

            async def body(tx: Transaction, run: Run = run) -> None:
                seq = await chats.advance(tx, run.chat_id, 1)
                await runs.insert(tx, replace(run, first_seq=seq), reserved_tokens=reserved_tokens)
                await events.append(tx, run.chat_id, seq, 10, events.Told("run.started", run_id=run.id))

            await store.write(run.organisation_id, body)

    @staticmethod
    async def say(store: Store, *said: tuple[Run, str], kind: EventKind = "run.delta") -> list[Delta]:
        """One tick; what was refused."""
        deltas = [Delta(run, kind, text) for run, text in said]
        refused = await store.write(None, partial(events.append_deltas, deltas=deltas, now=20))
        return [delta for number, delta in enumerate(deltas) if number in refused]

    @staticmethod
    async def end(store: Store, run: Run, *, now: int = 50) -> bool:
        async def body(tx: Transaction) -> bool:
            seq = await chats.advance(tx, run.chat_id, 1)
            await events.append(tx, run.chat_id, seq, now, events.Told("run.completed", run_id=run.id))
            return await runs.end(
                tx,
                run,
                runs.Ending(
                    "completed", error=None, usage=Usage(3, 4, "0.0015"), response_time_ms=5, last_seq=seq
                ),
                now=now,
            )

        return await store.write(run.organisation_id, body)

    @staticmethod
    async def journal(
        store: Store, chat_id: ChatId = CHAT, *, organisation: OrganisationId = ACME
    ) -> list[tuple[int, str, str | None]]:
        async def body(tx: Transaction) -> list[Event]:
            return await events.after(tx, organisation, chat_id, 0, 1000)

        return [(each.seq, each.kind, each.text) for each in await store.read(organisation, body)]

    @staticmethod
    async def head(store: Store, chat_id: ChatId = CHAT) -> Head | None:
        return await store.read(ACME, partial(events.head, chat_id=chat_id))


class EventsContract(Journal):
    """`store.events` on an engine. Subclass it in a test module with a fixture `store`."""

    async def test_what_a_chat_is_told_before_it_goes_goes_with_it(self, ready: Store) -> None:
        async def tell(tx: Transaction) -> None:
            seq = await chats.advance(tx, CHAT, 1)
            await events.append(tx, CHAT, seq, 1, events.Told("chat.updated"))

        async def purge(tx: Transaction) -> int:
            await tell(tx)
            return await tx.run("chat_purge", id=CHAT)

        _, gone = await asyncio.gather(
            ready.write(ACME, tell, about=CHAT), ready.write(ACME, purge, about=CHAT)
        )  # in one commit
        assert gone == 1
        assert (await self.head(ready), await self.journal(ready)) == (None, [])

    async def test_an_event_comes_back_as_it_was_written_and_told(self, ready: Store) -> None:
        told: list[Event] = []
        ready.listen(told.extend)
        said, growing = (
            message(1, "ü\U0001f600", metadata={"a": [1, None]}),
            message(2, "", status="generating", role="assistant"),
        )

        async def body(tx: Transaction) -> list[Event]:
            await messages.insert(tx, said)
            await messages.insert(tx, growing)
            append = partial(events.append, tx, CHAT)
            return [
                await append(
                    2, 7, events.Told("message.created", message=said, chat={"title": "T", "pinned": None})
                ),
                await append(3, 7, events.Told("run.started", run_id=RunId("run"), data={"a": {"b": [1]}})),
                await append(4, 8, events.Told("message.created", message=growing, run_id=RunId("run"))),
                await append(5, 9, events.Told("run.delta", text="\u2028 x", run_id=RunId("run"))),
            ]

        async def read(tx: Transaction) -> list[Event]:
            return await events.after(tx, ACME, CHAT, 1, 10)

        written = await ready.write(ACME, body)
        assert await ready.read(ACME, read) == written == told
        assert written[0].message == said
        assert [each.organisation_id for each in written] == [ACME] * 4

    async def test_an_event_tells_of_a_growing_message_as_it_was_then(self, ready: Store) -> None:
        growing = message(1, "so far", status="generating", role="assistant")
        grown = replace(growing, content="so far, so good", status="complete", output_tokens=4)

        async def body(tx: Transaction) -> None:
            await messages.insert(tx, growing)
            await events.append(tx, CHAT, 2, 1, events.Told("message.updated", message=growing))
            await messages.answer(tx, grown)
            await events.append(tx, CHAT, 3, 1, events.Told("run.completed", message=grown))

        async def read(tx: Transaction) -> list[Event]:
            return await events.after(tx, ACME, CHAT, 1, 10)

        await ready.write(ACME, body)
        first, last = [each.message for each in await ready.read(ACME, read)]
        assert (first and (first.content, first.status, first.error)) == ("so far", "generating", None)
        assert last == grown

    async def test_after_goes_on_from_any_place_in_any_steps(self, ready: Store) -> None:
        async def body(tx: Transaction) -> None:
            for seq in range(2, 12):
                await events.append(tx, CHAT, seq, 1, events.Told("chat.updated"))
                await events.append(tx, SECOND, seq, 1, events.Told("chat.restored"))

        async def after(tx: Transaction, seq: int, limit: int) -> list[tuple[int, str]]:
            return [(each.seq, each.kind) for each in await events.after(tx, ACME, CHAT, seq, limit)]

        await ready.write(ACME, body)
        whole = [(1, "chat.created"), *((seq, "chat.updated") for seq in range(2, 12))]
        for seq in range(12):
            for limit in (1, 3, 100):
                assert await ready.read(ACME, partial(after, seq=seq, limit=limit)) == whole[seq:][:limit]

    async def test_a_sequence_is_taken_once(self, ready: Store) -> None:
        async def body(tx: Transaction) -> None:
            await events.append(tx, CHAT, 1, 1, events.Told("chat.updated"))

        heard = Heard(ready)
        with pytest.raises(Conflict):
            await ready.write(ACME, body)
        assert await self.journal(ready) == [(1, "chat.created", None)]
        assert heard.numbers == []

    async def test_the_head_is_the_chats_version(self, ready: Store) -> None:
        assert await self.head(ready) == Head(1, 0)
        await ready.write(ACME, partial(chats.advance, chat_id=CHAT, count=3))
        assert await self.head(ready) == Head(4, 0)
        assert await self.head(ready, SECOND) == Head(1, 0)
        assert await self.head(ready, ChatId("nothing")) is None

    async def test_a_purged_chat_takes_its_journal_and_runs_with_it(self, ready: Store) -> None:
        await self.add(ready, run_of())

        async def purge(tx: Transaction) -> int:
            return await tx.run("chat_purge", **{**values("chat_purge", ACME), "id": CHAT})

        assert await ready.write(ACME, purge) == 1
        assert await self.journal(ready) == []
        assert await ready.read(ACME, partial(runs.get, run_id=RunId("run"))) is None
        assert await self.journal(ready, organisation=OTHER) == [(1, "chat.created", None)]


class DeltasContract(Journal):
    """A tick of all streams, and folding them away."""

    async def test_one_tick_writes_for_all_organisations_and_chats(self, ready: Store) -> None:
        mine, second = run_of(), run_of(SECOND, "run2")
        theirs = run_of(organisation=OTHER)
        await self.add(ready, mine, second, theirs)
        told: list[Event] = []
        ready.listen(told.extend)
        assert await self.say(ready, (mine, "a"), (theirs, "b"), (second, "c")) == []
        assert await self.say(ready, (mine, "d"), kind="run.reasoning") == []
        started = [(1, "chat.created", None), (2, "run.started", None)]
        assert await self.journal(ready) == [*started, (3, "run.delta", "a"), (4, "run.reasoning", "d")]
        assert await self.journal(ready, SECOND) == [*started, (3, "run.delta", "c")]
        assert await self.journal(ready, organisation=OTHER) == [*started, (3, "run.delta", "b")]
        assert await self.head(ready) == Head(4, 0)
        assert [(each.organisation_id, each.chat_id, each.seq, each.text) for each in told] == [
            (ACME, CHAT, 3, "a"),
            (OTHER, CHAT, 3, "b"),
            (ACME, SECOND, 3, "c"),
            (ACME, CHAT, 4, "d"),
        ]
        assert {each.run_id for each in told} == {"run", "run2"}

    @pytest.mark.parametrize("why", ["stale", "ended", "stop asked", "unknown"])
    async def test_what_counts_no_more_is_refused_and_nothing_else(self, ready: Store, why: str) -> None:
        run, good = run_of(), run_of(SECOND, "run2")
        await self.add(ready, run, good)
        if why == "stale":
            await ready.write(ACME, partial(runs.take, run=run, holder="other", lease_until=200))
        elif why == "ended":
            await self.end(ready, run)
        elif why == "stop asked":
            await ready.write(ACME, partial(runs.ask_to_stop, chat_id=CHAT, run_id=run.id, now=5))
        else:
            run = replace(run, id=RunId("nobody"))
        before = (await self.journal(ready), await self.head(ready))
        heard = Heard(ready)
        refused = await self.say(ready, (run, "late"), (good, "in time"))
        assert [(each.run.id, each.text) for each in refused] == [(run.id, "late")]
        assert (await self.journal(ready), await self.head(ready)) == before
        assert (await self.journal(ready, SECOND))[-1] == (3, "run.delta", "in time")
        assert heard.numbers == [3]

    async def test_the_new_holder_may_write(self, ready: Store) -> None:
        await self.add(ready, run_of())
        epoch = await ready.write(ACME, partial(runs.take, run=run_of(), holder="other", lease_until=200))
        assert epoch == 2
        assert await self.say(ready, (replace(run_of(), epoch=2), "mine")) == []
        assert (await self.journal(ready))[-1] == (3, "run.delta", "mine")

    async def test_a_growing_answer_reads_with_all_its_pieces_and_no_others(self, ready: Store) -> None:
        run, beside = run_of(), run_of(name="beside")
        await self.add(ready, run, beside)
        answer = message(1, "before, ", id=run.answer_id, status="generating", role="assistant")
        await ready.write(ACME, partial(messages.insert, message=answer))
        get = partial(messages.get, chat_id=CHAT, message_id=run.answer_id)
        await self.say(ready, (run, "a"))
        await self.say(ready, (beside, "x"))
        await self.say(ready, (run, "hm"), kind="run.reasoning")
        await self.say(ready, (run, "b"))
        grown = await ready.read(ACME, get)
        assert grown == replace(answer, content="before, ab")
        assert await ready.read(ACME, partial(messages.of_chat, chat_id=CHAT)) == [grown]
        assert await ready.read(ACME, partial(messages.after, chat_id=CHAT, seq=0, limit=5)) == [grown]
        await ready.write(ACME, partial(messages.answer, message=replace(answer, status="complete")))
        assert await ready.read(ACME, get) == replace(answer, status="complete"), "its own text only"

    async def test_folding_drops_the_pieces_of_ended_runs_and_nothing_else(self, ready: Store) -> None:
        ended, running, other = run_of(), run_of(name="running"), run_of(organisation=OTHER)
        await self.add(ready, ended, running, other)
        for run, text in ((ended, "a"), (running, "b"), (other, "c")):
            await self.say(ready, (run, text))
        await self.say(ready, (ended, "hm"), kind="run.reasoning")
        await self.end(ready, ended)
        whole = await self.journal(ready)
        assert [seq for seq, _, _ in whole] == list(range(1, 8))
        assert await ready.write(None, partial(events.fold, before=50, limit=10)) == 0, "not old enough"
        assert await ready.write(None, partial(events.fold, before=51, limit=10)) == 1
        assert await self.journal(ready) == [whole[index] for index in (0, 1, 2, 4, 6)]
        assert await self.head(ready) == Head(7, 6)
        assert await ready.write(None, partial(events.fold, before=10**9, limit=10)) == 0, "not again"
        assert len(await self.journal(ready, organisation=OTHER)) == 3

    async def test_folding_a_run_that_said_nothing_makes_no_gap(self, ready: Store) -> None:
        await self.add(ready, run_of())
        await self.end(ready, run_of())
        assert await ready.write(None, partial(events.fold, before=51, limit=10)) == 1
        assert await self.head(ready) == Head(3, 0)

    async def test_folding_goes_in_steps_and_an_earlier_run_does_not_take_the_mark_back(
        self, ready: Store
    ) -> None:
        first, last = run_of(), run_of(name="last")
        await self.add(ready, first, last)
        for run in (first, last):
            await self.say(ready, (run, "x"))
        await self.end(ready, last, now=50)
        await self.end(ready, first, now=40)  # by a clock that is behind: it is folded first
        heads = []
        while await ready.write(None, partial(events.fold, before=51, limit=1)):
            heads.append(await self.head(ready))
        assert heads == [Head(7, 6), Head(7, 6)]
        assert [kind for _, kind, _ in await self.journal(ready)] == [
            "chat.created",
            "run.started",
            "run.started",
            "run.completed",
            "run.completed",
        ]
