"""Answers that survive: a dead server, a lease that ran out, a cursor whose events are folded away."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from chatkeep.domain.run import INTERRUPTED
from chatkeep.runtime.sweeper import sweep
from tests.flows.test_journal import HELD, journal
from tests.upstream import Script, ScriptedUpstream
from tests.world import NATIVE, FakeClock, World, open_world

pytestmark = pytest.mark.sqlite


@pytest.mark.parametrize("resume", ["always", "never"])
async def test_a_run_of_a_dead_server_is_settled_at_the_next_start(tmp_path: Path, resume: str) -> None:
    clock = FakeClock()
    async with ScriptedUpstream() as upstream:
        upstream.play(HELD)
        async with open_world(tmp_path / "data", clock, upstream) as world:
            chat = await world.native("POST", "/chats", title="T")
            asked = asyncio.ensure_future(world.native("POST", f"/chats/{chat['id']}/generate", message="Q"))
            await world.until_said(chat["id"])
            dead = tmp_path / "dead"
            shutil.copytree(tmp_path / "data", dead)  # what a crash would leave
            upstream.go_on()
            await asked
        upstream.play(Script([" and on"]))
        async with open_world(dead, clock, upstream, resume_runs=resume) as world:
            if resume == "always":
                await until_idle(world, chat["id"])
            read = await world.native("GET", f"/chats/{chat['id']}")
            text = read["messages"][-1]["content"]
            events = await journal(world, chat["id"])
            ends = [each["type"] for each in events if each["type"] in ("run.completed", "run.failed")]
            if resume == "always":
                assert (text, read["status"], ends) == ("Wait and on", None, ["run.completed"])
                assert upstream.requests[-1]["messages"][-1] == {"role": "assistant", "content": "Wait"}
            else:
                assert (text, read["status"], ends) == ("Wait", "error", ["run.failed"])
                assert read["last_error"] == INTERRUPTED
            assert [each["seq"] for each in events] == list(range(1, len(events) + 1))


async def test_a_lease_that_ran_out_is_settled_by_whoever_reads(world: World) -> None:
    chat = await world.native("POST", "/chats", title="T")
    world.upstream.play(HELD)
    path = f"{NATIVE}/chats/{chat['id']}/generate"
    task = asyncio.ensure_future(world.client.post(path, headers=world.owner.bearer, json={"message": "Q"}))
    await world.until_said(chat["id"])
    world.clock.advance(31)
    read = await world.native("GET", f"/chats/{chat['id']}")
    assert (read["status"], read["last_error"]) == ("error", INTERRUPTED)
    assert read["messages"][-1]["content"] == "Wait"
    world.upstream.go_on()
    assert (await task).status_code == 502
    assert (await world.native("GET", f"/chats/{chat['id']}"))["messages"][-1]["content"] == "Wait"


async def test_a_folded_cursor_gets_a_snapshot_and_a_newer_one_the_rest(world: World) -> None:
    chat = await world.native("POST", "/chats", title="T")
    world.upstream.play(Script(["some text"]))
    await world.native("POST", f"/chats/{chat['id']}/generate", message="Q")
    before = await journal(world, chat["id"])
    world.clock.advance(3601)
    await sweep(world.system)
    delta = next(each for each in before if each["type"] == "run.delta")
    old = (await world.native("GET", f"/chats/{chat['id']}/events?after=1&wait_s=0"))["items"]
    assert [each["type"] for each in old] == ["snapshot"]
    assert old[0]["messages"][-1]["content"] == "some text"
    newer = await journal(world, chat["id"], delta["seq"])
    assert newer == [each for each in before if each["seq"] > delta["seq"]]


async def until_idle(world: World, chat_id: str) -> None:
    """Wait for the end of what is being generated."""
    after = 0
    while (page := await world.native("GET", f"/chats/{chat_id}/events?after={after}&wait_s=5"))["items"]:
        after = page["after"]
        if any(each["type"] in ("run.completed", "run.failed", "run.stopped") for each in page["items"]):
            return
