"""What SQLite's single writer gives for free, on PostgreSQL with two nodes that write at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from chatkeep.domain.chat import ChatChanges
from chatkeep.domain.errors import (
    IdempotencyInFlight,
    InvalidField,
    LeaseLost,
    NotFound,
    RateLimited,
    SignUpClosed,
)
from chatkeep.domain.ids import PrincipalId
from chatkeep.domain.message import NewMessage
from chatkeep.services import chats as chat_verbs
from chatkeep.services import (
    documents,
    folders,
    generating,
    leases,
    messages,
    models,
    organisations,
    people,
    runs,
    shares,
)
from chatkeep.services.context import Claim, Context, Note, Replay
from chatkeep.services.generating import Generated, StartedRun
from chatkeep.services.wishes import Wish
from chatkeep.store import chats, events, idempotency
from chatkeep.store import runs as run_rows
from chatkeep.store.driver import Transaction
from chatkeep.store.events import Delta
from tests.contract.store.nodes import Held, Later, Nodes, at_once, sort_out, two_nodes
from tests.upstream import ScriptedUpstream

RUNS_MAX, DOCUMENTS_MAX = 5, 20
TASKS = 24


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as running:
        yield running


@pytest.fixture
async def nodes(tmp_path: Path, postgres_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Nodes]:
    settings = {"runs_per_organisation_max": RUNS_MAX}
    async with two_nodes(tmp_path / "data", postgres_url, upstream, **settings) as running:
        yield running
        await running.check()


def both(nodes: Nodes, count: int = TASKS) -> list[Context]:
    """The two nodes in turn."""
    return [ctx for ctx, _ in zip(cycle(nodes.both), range(count), strict=False)]


async def journal_of(nodes: Nodes, chat_id: Any) -> list[Any]:
    async def body(tx: Transaction) -> list[Any]:
        return await events.after(tx, nodes.organisation_id, chat_id, 0, 10_000)

    return await nodes.one.read(body)


# --- chats -----------------------------------------------------------------------------------------------------------


async def test_appends_to_one_chat_go_one_after_the_other(nodes: Nodes) -> None:
    chat_id = await nodes.chat("first")
    said = [[NewMessage("user", f"{n}.{part}") for part in range(n % 3 + 1)] for n in range(TASKS)]
    written = await at_once(
        messages.append(ctx, chat_id, each) for ctx, each in zip(both(nodes), said, strict=True)
    )
    batches = sort_out(written)
    assert len(batches) == TASKS
    thread = await chat_verbs.read(nodes.other, chat_id)
    count = 1 + sum(map(len, said))
    assert [message.seq for message in thread.messages] == list(range(1, count + 1))
    assert [message.id for message in thread.path] == [message.id for message in thread.messages]
    assert thread.chat.message_count == count
    assert [event.seq for event in await journal_of(nodes, chat_id)] == list(
        range(1, thread.chat.version + 1)
    )
    for batch in batches:
        assert [message.seq - batch[0].seq for message in batch] == list(range(len(batch))), (
            "a batch came apart"
        )


async def test_busy_chats_do_not_wait_for_one_another(nodes: Nodes, postgres_url: str) -> None:
    chat_ids = [await nodes.chat() for _ in range(8)]
    async with asyncio.timeout(30):
        for contexts in ([nodes.one] * 160, both(nodes, 160)):
            said = zip(contexts, cycle(chat_ids), strict=False)
            appends = [messages.append(ctx, chat_id, [NewMessage("user", "more")]) for ctx, chat_id in said]
            assert all(not isinstance(each, BaseException) for each in await asyncio.gather(*appends))
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert await connection.fetchval(counted) == 0, "what is about one chat is done by one lane at a time"
    finally:
        await connection.close()


async def test_a_folder_that_goes_takes_no_chat_with_it_and_leaves_none_behind(nodes: Nodes) -> None:
    chat_ids = [await nodes.chat() for _ in range(6)]
    for _ in range(6):
        folder = await folders.create(nodes.one, "A folder")
        await chat_verbs.update(nodes.one, chat_ids[0], ChatChanges(folder_id=folder.id))
        moves = [
            chat_verbs.update(ctx, chat_id, ChatChanges(folder_id=folder.id))
            for ctx, chat_id in zip(both(nodes, 6), chat_ids, strict=True)
        ]
        deletion = folders.delete(nodes.other, folder.id)
        sort_out(await at_once([*moves[:3], deletion, *moves[3:]]), InvalidField)
        for chat_id in chat_ids:
            assert (await chat_verbs.get(nodes.one, chat_id)).folder_id is None, "in a folder that is gone"


async def test_documents_are_counted_and_limited(nodes: Nodes) -> None:
    chat_id = await nodes.chat()
    limits = nodes.one.system.limits
    limited = [
        replace(ctx, system=replace(ctx.system, limits=replace(limits, documents_per_chat_max=DOCUMENTS_MAX)))
        for ctx in both(nodes, 30)
    ]
    attached = sort_out(
        await at_once(documents.attach(ctx, chat_id, "a", "text/plain", "text") for ctx in limited),
        InvalidField,
    )
    assert len(attached) == DOCUMENTS_MAX
    gone = attached[:8]
    removals = [documents.remove(ctx, chat_id, each.id) for each in gone for ctx in nodes.both]
    assert len(sort_out(await at_once(removals), NotFound)) == len(gone)
    left = await documents.list_documents(nodes.one, chat_id)
    assert (
        (await chat_verbs.get(nodes.other, chat_id)).documents_count == len(left) == DOCUMENTS_MAX - len(gone)
    )


async def test_a_chat_has_one_share(nodes: Nodes) -> None:
    chat_id = await nodes.chat("hello")
    made = sort_out(await at_once(shares.share(ctx, chat_id) for ctx in both(nodes, 8)))
    assert len({share.id for share in made}) == 1


async def test_a_chat_that_is_purged_refuses_what_comes_later(nodes: Nodes) -> None:
    chat_id = await nodes.chat("hello")
    work: list[Any] = [messages.append(ctx, chat_id, [NewMessage("user", "more")]) for ctx in both(nodes)]
    work.insert(TASKS // 2, chat_verbs.purge(nodes.other, chat_id))
    sort_out(await at_once(work), NotFound)
    with pytest.raises(NotFound):
        await chat_verbs.get(nodes.one, chat_id)


# --- people ----------------------------------------------------------------------------------------------------------


async def test_the_first_who_signs_up_is_the_only_owner(nodes: Nodes) -> None:
    wanted = [people.SignUp(f"P{n}", f"p{n}@example.org", "correct horse battery") for n in range(4)]
    signed_up = sort_out(
        await at_once(
            people.sign_up(ctx.system, each) for ctx, each in zip(both(nodes, 4), wanted, strict=True)
        ),
        SignUpClosed,
    )
    assert [session.account.role for session in signed_up] == ["owner"]


async def test_a_vouched_user_is_made_once(nodes: Nodes) -> None:
    def vouch(ctx: Context, external_id: str) -> Any:
        async def body(tx: Transaction) -> Any:
            return await people.vouched(tx, ctx, external_id)

        return ctx.write(body)

    named = [f"pupil-{n // 8}" for n in range(TASKS)]
    found = sort_out(await at_once(vouch(ctx, each) for ctx, each in zip(both(nodes), named, strict=True)))
    assert len(found) == TASKS
    assert len({account.id for account, _ in found}) == len({*named}) == sum(is_new for _, is_new in found)


async def test_nodes_that_start_at_once_find_each_model_once(nodes: Nodes) -> None:
    await organisations.create(nodes.one.system, "Another")
    syncs = [models.sync(s, each) for s in nodes.systems for each in s.providers.values() for _ in range(3)]
    sort_out(await at_once(syncs))
    page = await models.list_models(nodes.one, cursor=None, limit=100)
    assert len(page.items) == len({model.card.model_name for model in page.items})


# --- requests --------------------------------------------------------------------------------------------------------


async def test_one_idempotency_key_has_one_effect(nodes: Nodes) -> None:
    chat_id = await nodes.chat()
    keys = [
        Claim(
            idempotency.RequestKey(PrincipalId(nodes.one.principal.id), "POST /messages", f"key-{n % 3}"),
            b"the same",
            lambda made: Note(chat_id, (201, made[0].id.encode())),
        )
        for n in range(TASKS)
    ]
    results = await at_once(
        messages.append(replace(ctx, claim=claim), chat_id, [NewMessage("user", claim.name.key)])
        for ctx, claim in zip(both(nodes), keys, strict=True)
    )
    written = sort_out(results, Replay, IdempotencyInFlight)
    assert sorted(made[0].content for made in written) == ["key-0", "key-1", "key-2"]
    replays = [each for each in results if isinstance(each, Replay)]
    assert {each.body.decode() for each in replays} == {made[0].id for made in written}
    assert len(replays) == TASKS - 3, "who came second was not told the first one's answer"


# --- runs ------------------------------------------------------------------------------------------------------------


async def begin(ctx: Context, nodes: Nodes) -> StartedRun:
    chat_id = await nodes.chat()
    return await runs.start(ctx, chat_id, [NewMessage("user", "Q")], Wish())


def ended(text: str = "") -> Generated:
    rest = (generating.Said("run.delta", text),) if text else ()
    return Generated("completed", rest, None, 1)


async def finish_all(started: list[StartedRun]) -> None:
    for each in started:
        await generating.finish(each, ended("A"))


async def test_never_one_run_more_than_the_limit(nodes: Nodes) -> None:
    chat_ids = [await nodes.chat() for _ in range(TASKS)]
    for _ in range(2):
        started = await at_once(
            runs.start(ctx, chat_id, [NewMessage("user", "Q")], Wish())
            for ctx, chat_id in zip(both(nodes), chat_ids, strict=True)
        )
        began = sort_out(started, RateLimited)
        assert len(began) == RUNS_MAX
        await finish_all(began)


async def test_of_stop_and_end_and_a_second_end_one_writes_the_end(nodes: Nodes) -> None:
    for _ in range(4):
        started = await begin(nodes.one, nodes)
        chat_id, elsewhere = started.run.chat_id, replace(started, system=nodes.other.system)
        results = await at_once(
            [
                generating.finish(started, ended("one")),
                runs.stop(nodes.other, chat_id),
                generating.finish(elsewhere, ended("other")),
                leases.end_dead(nodes.other.system, nodes.organisation_id, started.run.id),
                runs.stop(nodes.one, chat_id),
            ]
        )
        sort_out(results, LeaseLost)
        run = await runs.get(nodes.one, chat_id, started.run.id)
        assert run.state != "running"
        kinds = [event.kind for event in await journal_of(nodes, chat_id)]
        assert len({"run.completed", "run.stopped", "run.failed"} & {*kinds}) == 1
        assert sum(kind in ("run.completed", "run.stopped", "run.failed") for kind in kinds) == 1


async def test_of_two_who_take_a_run_over_each_has_its_own_epoch(nodes: Nodes) -> None:
    started = await begin(nodes.one, nodes)
    taken = sort_out(
        await at_once(
            leases.take_over(system, nodes.organisation_id, started.run.id) for system in nodes.later * 3
        )
    )
    held = [each for each in taken if each is not None]
    epochs = [each.run.epoch for each in held]
    assert len({*epochs}) == len(epochs), "two hold the run under the same epoch"
    newest = max(held, key=lambda each: each.run.epoch)
    for each in (started, *held):
        if each is not newest:
            with pytest.raises(LeaseLost):
                await generating.finish(each, ended("late"))
    await generating.finish(newest, ended("right"))
    thread = await chat_verbs.read(nodes.one, started.run.chat_id)
    assert thread.messages[-1].content == "right"


def tick(nodes: Nodes, started: StartedRun, text: str) -> Any:
    async def body(tx: Transaction) -> set[int]:
        return await events.append_deltas(tx, [Delta(started.run, "run.delta", text)], now=nodes.one.now_us())

    return started.system.store.write(None, body)


async def test_the_old_holder_never_writes_after_it_lost_its_run(nodes: Nodes) -> None:
    started = await begin(nodes.one, nodes)
    await generating.begin_answer(started, "old")
    chat_id, is_lost = started.run.chat_id, asyncio.Event()

    async def go_on() -> int:
        count = 0
        while not await tick(nodes, started, " old"):
            count += 1
        is_lost.set()
        return count

    async def take() -> StartedRun:
        await asyncio.sleep(0.05)
        taken = await leases.take_over(nodes.later[1], nodes.organisation_id, started.run.id)
        assert taken is not None
        while not is_lost.is_set():
            assert await tick(nodes, taken, " new") == set()
        return taken

    count, taken = await asyncio.gather(go_on(), take())
    assert count > 0
    await generating.finish(taken, ended(" end"))
    told = await journal_of(nodes, chat_id)
    resumed = next(event.seq for event in told if event.kind == "run.resumed")
    assert [e.seq for e in told if e.text == " old" and e.seq > resumed] == []
    assert [e.seq for e in told if e.text == " new" and e.seq < resumed] == []


async def test_a_tick_that_waits_while_the_run_is_taken_over_is_refused(nodes: Nodes) -> None:
    started = await begin(nodes.one, nodes)
    await generating.begin_answer(started, "old")

    async def take(tx: Transaction) -> None:
        taken = await leases._take(tx, nodes.later[1], started.run.id)
        assert taken is not None

    async with Held(nodes.other.system, nodes.organisation_id).after(take):
        waiting = asyncio.create_task(tick(nodes, started, " late"))
        await nodes.until_somebody_waits()
    assert await waiting == {0}, "the old holder wrote after it had lost the run"
    later = replace(nodes.later[0], clock=Later(nodes.later[0].clock))
    await leases.end_dead(later, nodes.organisation_id, started.run.id)


async def test_a_tick_that_waits_while_the_run_is_told_to_stop_is_refused(nodes: Nodes) -> None:
    started = await begin(nodes.one, nodes)
    await generating.begin_answer(started, "old")

    async def stop(tx: Transaction) -> None:
        assert await chats.access(tx, started.run.chat_id) is not None
        await run_rows.ask_to_stop(tx, started.run.chat_id, None, now=nodes.other.now_us())

    async with Held(nodes.other.system, nodes.organisation_id).after(stop):
        waiting = asyncio.create_task(tick(nodes, started, " late"))
        await nodes.until_somebody_waits()
    assert await waiting == {0}, "it was written after somebody had stopped the run"
    await generating.finish(started, ended())


async def test_a_tick_that_waits_while_the_run_ends_is_refused(nodes: Nodes) -> None:
    started = await begin(nodes.one, nodes)
    await generating.begin_answer(started, "old")

    async def end(tx: Transaction) -> None:
        await generating.finish_in(tx, replace(started, system=nodes.other.system), ended(" end"))

    async with Held(nodes.other.system, nodes.organisation_id).after(end):
        waiting = asyncio.create_task(tick(nodes, started, " late"))
        await nodes.until_somebody_waits()
    assert await waiting == {0}, "an answer grew after its end"
