"""Many tenants on few connections while requests are cancelled: nobody gets what another's request left behind (T2)."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from chatkeep.services import doctor, organisations
from chatkeep.store import postgres, postgres_writer
from tests.upstream import ScriptedUpstream
from tests.world import NATIVE, FakeClock, World, open_world

TENANTS, REQUESTS, AT_ONCE = 50, 1_000, 25
CANCELLED = 1 / 3
PATIENCE_S = 10.0
SEED = 20_261_123
WORD = re.compile(r"word-\d+-of-a-tenant")


@dataclass(frozen=True)
class Tenant:
    """An organisation, its word, and a chat that holds it."""

    word: str
    bearer: dict[str, str]
    chat_id: str


async def settle(world: World, number: int) -> Tenant:
    """A new organisation with a chat."""
    made = await organisations.create(world.system, f"Tenant {number}")
    bearer, word = {"Authorization": f"Bearer {made.key}"}, f"word-{number}-of-a-tenant"
    body = {"title": word, "messages": [{"role": "user", "content": word}]}
    answer = await world.client.post(f"{NATIVE}/chats", headers=bearer, json=body)
    return Tenant(word, bearer, answer.json()["id"])


def requests_of(tenant: Tenant, foreign: Tenant) -> list[tuple[int, str, str, Any]]:
    """Status, method, path and body of what a tenant may ask."""
    own = f"/chats/{tenant.chat_id}"
    return [
        (200, "GET", own, None),
        (200, "GET", "/chats", None),
        (200, "GET", f"{own}/messages", None),
        (200, "PATCH", own, {"title": f"{tenant.word} again"}),
        (201, "POST", f"{own}/messages", {"messages": [{"role": "user", "content": tenant.word}]}),
        (404, "GET", f"/chats/{foreign.chat_id}", None),
        (404, "PATCH", f"/chats/{foreign.chat_id}", {"title": tenant.word}),
    ]


async def ask(world: World, tenant: Tenant, method: str, path: str, body: Any) -> httpx.Response:
    return await world.client.request(method, NATIVE + path, headers=tenant.bearer, json=body)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five connections: two for reading, one for what is recalled and one for its moments, one for writing."""
    monkeypatch.setattr(postgres, "READERS", 2)
    monkeypatch.setattr(postgres, "RECALLERS", 1)
    monkeypatch.setattr(postgres_writer, "LANES", 1)


@pytest.mark.usefixtures("few")
async def test_a_thousand_requests_of_fifty_tenants_over_five_connections(
    tmp_path: Path,
    upstream: ScriptedUpstream,
    postgres_url: str,
    superuser_url_of: Callable[[str], str],
) -> None:
    dice = random.Random(SEED)
    async with open_world(tmp_path / "data", FakeClock(), upstream, database_url=postgres_url) as world:
        tenants = [await settle(world, number) for number in range(TENANTS)]
        places, counted = asyncio.Semaphore(AT_ONCE), {"answered": 0, "cancelled": 0}

        async def one(tenant: Tenant, foreign: Tenant, choice: int, patience: int | None) -> None:
            wanted, method, path, body = requests_of(tenant, foreign)[choice]
            async with places:
                task = asyncio.create_task(ask(world, tenant, method, path, body))
                if patience is not None:
                    for _ in range(patience):
                        await asyncio.sleep(0)
                    task.cancel()
                try:
                    answer = await task
                except asyncio.CancelledError:
                    counted["cancelled"] += 1
                    return
            counted["answered"] += 1
            assert answer.status_code == wanted, f"{method} {path}: {answer.status_code} {answer.text}"
            said = set(WORD.findall(answer.text))
            assert said <= {tenant.word}, f"{tenant.word} was told {said}"
            assert said or wanted != 200, "the answer holds nothing, so the test would see no wrong row"

        async with asyncio.TaskGroup() as group:
            for _ in range(REQUESTS):
                tenant, foreign = dice.sample(tenants, 2)
                patience = dice.randrange(1, 120) if dice.random() < CANCELLED else None
                group.create_task(one(tenant, foreign, dice.randrange(7), patience))
        assert counted["cancelled"] > REQUESTS / 6, "hardly anything was cancelled"

        beside = await asyncpg.connect(superuser_url_of(postgres_url))
        async with asyncio.timeout(PATIENCE_S):
            while await beside.fetchval(OPEN):  # noqa: ASYNC110 - nobody tells when a backend has ended
                await asyncio.sleep(0.01)
        assert await beside.fetchval(COUNT) <= 6, "five, and the bell's"
        await beside.close()
        for tenant in tenants:
            for wanted, method, path, body in requests_of(tenant, tenants[tenants.index(tenant) - 1]):
                answer = await ask(world, tenant, method, path, body)
                assert answer.status_code == wanted, answer.text
                assert set(WORD.findall(answer.text)) <= {tenant.word}
        assert not any((await doctor.examine(world.system)).values())


OPEN = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""
COUNT = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'chatkeep'
"""
