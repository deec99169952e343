"""`chatkeep doctor` on PostgreSQL: also a long chat that the planner knows nothing of is examined quickly."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import pytest

from chatkeep.services import doctor
from tests.flows.test_cli_doctor import filling
from tests.world import World

pytestmark = pytest.mark.postgres


async def test_a_long_chat_that_nobody_analysed_is_examined_quickly(world: World, database: str) -> None:
    await world.native("POST", "/chats", id="talk")
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("SET ROLE chatkeep_system")
        for statement in filling(20_000):
            await connection.execute(statement)
    finally:
        await connection.close()
    began_s = time.monotonic()
    async with asyncio.timeout(25):
        found = await doctor.examine(world.system)
    assert {check: findings for check, findings in found.items() if findings} == {}
    assert time.monotonic() - began_s < 10
