"""What the sweeper does in a round, and that a dry run says the same and does nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatkeep.domain.event import Event
from chatkeep.runtime.sweeper import Swept, sweep
from tests.security.rows import open_rows
from tests.upstream import ScriptedUpstream
from tests.world import NATIVE, FakeClock, World, open_world

DAY_S = 24 * 3600


async def furnished(world: World) -> dict[str, Any]:
    """A chat for each thing that there is to sweep, and one that stays."""
    keyed = {**world.owner.bearer, "idempotency-key": "k"}
    folder = await world.client.post(f"{NATIVE}/folders", headers=keyed, json={"name": "f"})
    assert folder.status_code == 201
    made = {
        name: await world.native("POST", "/chats", title=name) for name in ("answered", "deleted", "stays")
    }
    await world.native("POST", "/chats", title="expires", ttl_s=60)
    await world.native("POST", f"/chats/{made['answered']['id']}/generate", message="Q")
    await world.native("DELETE", f"/chats/{made['deleted']['id']}")
    return made


async def test_a_dry_run_counts_what_a_sweep_would_do_and_does_nothing(
    tmp_path: Path, superuser_url: str | None
) -> None:
    settings = {"fold_after_s": 10.0, "purge_deleted_after_s": 50.0}
    async with (
        ScriptedUpstream() as upstream,
        open_world(tmp_path / "data", FakeClock(), upstream, **settings) as world,
        open_rows(world, superuser_url) as rows,
    ):
        made = await furnished(world)
        assert await sweep(world.system) == Swept(0, 0, 0, 0), "nothing is due yet"
        world.clock.advance(DAY_S + 60)
        before = await rows.all()
        told: list[Event] = []
        world.system.store.listen(told.extend)
        due = Swept(1, 1, 1, 1)  # by this clock this node was not heard of for a day, but it is itself
        for _ in range(2):
            assert await sweep(world.system, is_dry_run=True) == due
        assert await rows.all() == before
        assert told == []
        assert await sweep(world.system) == due
        after = await rows.all()
        assert len(after["chats"]) == len(before["chats"]) - 2
        assert await sweep(world.system) == await sweep(world.system, is_dry_run=True) == Swept(0, 0, 0, 0)
        read = await world.native("GET", f"/chats/{made['answered']['id']}")
        assert read["messages"][-1]["content"] == "You said: Q"
        assert await world.native("GET", f"/chats/{made['stays']['id']}")


async def test_deleted_chats_stay_where_nobody_has_said_for_how_long(world: World) -> None:
    await furnished(world)
    world.clock.advance(10 * 365 * DAY_S)
    assert await sweep(world.system) == Swept(1, 0, 1, 1)
    assert (await world.native("GET", "/chats?deleted=true"))["total_count"] == 1
