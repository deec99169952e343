"""Runs whose end the store does not take: what readers are told, and what becomes of the text."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from chatkeep.domain.errors import StoreFull
from tests.flows.office import idle
from tests.upstream import DONE, Raw, finish_event, text_event
from tests.world import NATIVE, World

PATIENCE_S = 10.0
LONG = "x" * 90_000
HELD = Raw([text_event(LONG), None, finish_event(), DONE])


async def limit_pages(world: World, pages: int) -> None:
    """How many pages the database file may have from now on, also where a write that shares the commit fails by it."""
    store: Any = world.system.store
    execute = store._writer.connection.execute
    with suppress(StoreFull):
        await store._writer.submit(lambda: execute(f"PRAGMA max_page_count={pages}").fetchall())


async def test_a_full_disk_at_the_end_is_told_at_once_and_made_good_once_there_is_room(world: World) -> None:
    chat = await world.native("POST", "/chats", title="T")
    world.upstream.play(HELD)
    headers = {**world.owner.bearer, "idempotency-key": "k"}
    post = f"{NATIVE}/chats/{chat['id']}/generate"
    asking = asyncio.create_task(world.client.post(post, headers=headers, json={"message": "Q"}))
    await world.upstream.until_requests()
    world.server.house.runner._retry_s = 0.01
    await limit_pages(world, 1)
    world.upstream.go_on()
    told = await asyncio.wait_for(asking, PATIENCE_S)
    assert (told.status_code, told.json()["code"]) == (507, StoreFull.code)
    assert (await world.native("GET", f"/chats/{chat['id']}"))["status"] == "generating"
    await limit_pages(world, 2**30)
    await idle(world)
    read = await world.native("GET", f"/chats/{chat['id']}")
    assert (read["status"], [message["content"] for message in read["messages"]]) == (None, ["Q", LONG])
    replay = await world.client.post(post, headers=headers, json={"message": "Q"})
    assert (replay.status_code, replay.json()["message"]["content"]) == (200, LONG)


async def test_a_stream_ends_with_an_error_event_when_its_end_can_not_be_written(world: World) -> None:
    chat = await world.native("POST", "/chats", title="T")
    world.upstream.play(HELD)
    body = {"message": "Q", "stream": True}
    post = world.client.post(f"{NATIVE}/chats/{chat['id']}/generate", headers=world.owner.bearer, json=body)
    asking = asyncio.create_task(post)
    await world.upstream.until_requests()
    await limit_pages(world, 1)
    world.upstream.go_on()
    told = await asyncio.wait_for(asking, PATIENCE_S)
    last = told.text.rstrip().rsplit("\n\n", 1)[1]
    assert last.startswith("event: error\n")
    assert "nothing was written" in last
    await limit_pages(world, 2**30)
