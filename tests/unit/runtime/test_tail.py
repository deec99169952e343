"""Following a chat: the events as they come, heartbeats in between, an end in time, and not too many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, cast

import pytest

from chatkeep.domain.errors import NotFound, Unauthenticated
from chatkeep.domain.ids import ChatId
from chatkeep.runtime.tail import Reader, Recheck, Tail
from chatkeep.services import chats
from chatkeep.services.context import Context
from chatkeep.services.journal import Batch, Snapshot
from chatkeep.store import events
from chatkeep.store.driver import Transaction
from tests.flows.office import Office
from tests.unit.runtime.following import asked
from tests.upstream import Script

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATIENCE_S = 10.0


def tail_of(office: Office, **limits: float) -> Tail:
    chosen: dict[str, Any] = {"sse_heartbeat_s": 60.0, "stream_recheck_s": 60.0, **limits}
    return Tail(office.server.house.turns._bell, replace(office.system.limits, **chosen))


def follow(
    office: Office, tail: Tail, chat_id: str, after: int | None, recheck: Recheck | None = None
) -> AsyncGenerator[Batch, None]:
    async def same() -> Context:
        return office.context()

    following = tail.follow(Reader(office.context(), recheck or same), ChatId(chat_id), after)
    return cast("AsyncGenerator[Batch, None]", following)


async def coming(following: AsyncGenerator[Batch, None]) -> list[tuple[int, str]]:
    """The next batch that is no heartbeat."""
    async with asyncio.timeout(PATIENCE_S):
        while not (batch := await anext(following)):
            pass
    assert isinstance(batch, list)
    return [(event.seq, event.kind) for event in batch]


async def test_a_newcomer_sees_a_picture_and_then_what_follows(office: Office) -> None:
    chat = await office.chat("Hi", "Hello")
    following = follow(office, tail_of(office), chat["id"], None)
    first = await anext(following)
    assert isinstance(first, Snapshot)
    assert ([each.content for each in first.messages], first.seq) == (["Hi", "Hello"], 3)
    await office.native("PATCH", f"/chats/{chat['id']}", title="New")
    assert await coming(following) == [(4, "chat.updated")]
    await following.aclose()


async def test_who_comes_back_gets_what_it_missed_and_what_comes_while_it_waits(office: Office) -> None:
    chat = await office.chat("Hi")
    following = follow(office, tail_of(office), chat["id"], 1)
    assert await coming(following) == [(2, "message.created")]
    task = asyncio.create_task(coming(following))
    await asyncio.sleep(0.01)
    assert not task.done()
    await office.native("PATCH", f"/chats/{chat['id']}", title="New")
    assert await task == [(3, "chat.updated")]
    await following.aclose()


async def test_what_another_process_wrote_is_found_by_looking_again(office: Office) -> None:
    chat = await office.chat("Hi")
    following = follow(office, tail_of(office, stream_recheck_s=0.01), chat["id"], 2)
    task = asyncio.create_task(coming(following))
    await asyncio.sleep(0.005)
    store: Any = office.system.store
    listeners, store._writer.listeners[:] = list(store._writer.listeners), []  # nobody hears of this commit
    try:
        await office.native("PATCH", f"/chats/{chat['id']}", title="New")
    finally:
        store._writer.listeners[:] = listeners
    assert await task == [(3, "chat.updated")]
    await office.native("PATCH", f"/chats/{chat['id']}", title="Newer")
    assert await coming(following) == [(4, "chat.updated")]
    await following.aclose()


async def test_silence_is_filled_with_heartbeats_and_loses_no_event(office: Office) -> None:
    chat = await office.chat("Hi")
    following = follow(office, tail_of(office, sse_heartbeat_s=0.005), chat["id"], 2)
    assert [await anext(following) for _ in range(3)] == [[], [], []]
    await office.native("PATCH", f"/chats/{chat['id']}", title="New")
    assert await coming(following) == [(3, "chat.updated")]
    assert await anext(following) == []
    await following.aclose()


async def test_a_stream_ends_at_its_age(office: Office) -> None:
    chat = await office.chat("Hi")
    async with asyncio.timeout(PATIENCE_S):
        told = [batch async for batch in follow(office, tail_of(office, stream_age_s=0.05), chat["id"], 1)]
    assert len(told) == 1


async def test_a_stream_ends_when_the_server_goes_also_a_new_one(office: Office) -> None:
    chat = await office.chat("Hi")
    tail = tail_of(office)
    following = follow(office, tail, chat["id"], 2)
    task = asyncio.create_task(anext(following, "the end"))
    await asyncio.sleep(0.01)
    tail.close()
    assert await asyncio.wait_for(task, PATIENCE_S) == "the end"
    async with asyncio.timeout(PATIENCE_S):
        late = [batch async for batch in follow(office, tail, chat["id"], None)]
    assert [type(batch) for batch in late] == [Snapshot]


async def test_a_credential_that_is_good_no_more_ends_the_stream(office: Office) -> None:
    chat = await office.chat("Hi")
    looks = 0

    async def recheck() -> Context:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise Unauthenticated("revoked")
        return office.context()

    following = follow(office, tail_of(office, stream_recheck_s=0.01), chat["id"], 2, recheck)
    with pytest.raises(Unauthenticated):
        await asyncio.wait_for(anext(following), PATIENCE_S)


@pytest.mark.parametrize("stream_recheck_s", [0.0, 0.01])  # with every event, or seldom with this one
async def test_a_chat_that_is_deleted_ends_the_stream_after_telling_so(
    office: Office, stream_recheck_s: float
) -> None:
    chat = await office.chat("Hi")
    following = follow(office, tail_of(office, stream_recheck_s=stream_recheck_s), chat["id"], 2)
    task = asyncio.create_task(coming(following))
    await asyncio.sleep(0)
    await chats.delete(office.context(), ChatId(chat["id"]))
    assert await task == [(3, "chat.deleted")]
    async with asyncio.timeout(PATIENCE_S):
        assert [batch async for batch in following] == []
    with pytest.raises(NotFound):
        await anext(follow(office, tail_of(office), chat["id"], None))


@pytest.mark.parametrize("cursor", [0, 3, 999])
async def test_a_cursor_that_the_journal_does_not_reach_gets_a_picture(office: Office, cursor: int) -> None:
    office.upstream.play(Script(["answer"]))
    started = await asked(office)
    ended = await office.server.house.runner.begin(started).outcome()
    assert ended.message is not None

    async def fold(tx: Transaction) -> int:
        return await events.fold(tx, before=2**62, limit=1000)

    assert await office.system.store.write(None, fold) >= 1
    tail = tail_of(office)
    first = await poll(office, tail, started.run.chat_id, cursor, wait_s=0)
    assert isinstance(first, Snapshot)
    assert [each.content for each in first.messages] == ["Question", "answer"]
    assert await poll(office, tail, started.run.chat_id, first.seq, wait_s=0) == []


async def poll(office: Office, tail: Tail, chat_id: str, after: int, *, wait_s: float) -> Batch:
    async def same() -> Context:
        return office.context()

    return await tail.poll(office.context(), ChatId(chat_id), after, wait_s=wait_s, recheck=same)


async def test_a_poll_waits_for_the_next_event_and_no_longer_than_it_was_told(office: Office) -> None:
    chat, tail = await office.chat("Hi"), tail_of(office)
    waiting = asyncio.create_task(poll(office, tail, ChatId(chat["id"]), 2, wait_s=PATIENCE_S))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await office.native("PATCH", f"/chats/{chat['id']}", title="New")
    found = await waiting
    assert isinstance(found, list)
    assert [event.seq for event in found] == [3]
    assert await poll(office, tail, ChatId(chat["id"]), 3, wait_s=0.01) == []
    tail.close()
    assert await poll(office, tail, ChatId(chat["id"]), 3, wait_s=PATIENCE_S) == []
