"""The bytes that a store keeps, for tests that look for what must not be among them."""

# ruff: noqa: PLC0415 - PostgreSQL's driver takes a tenth of a second to import, and half of the tests do without

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path
from typing import Any

from tests.world import World


async def everything_kept(world: World, folder: Path, superuser_url: str | None) -> bytes:
    """The file and its log, or all rows of all tables as PostgreSQL copies them."""
    if superuser_url is None:
        store: Any = world.system.store
        await asyncio.to_thread(store._checkpointer._checkpoint, "PASSIVE")
        assert (folder / "chatkeep.db-wal").stat().st_size > 0
        return await asyncio.to_thread(_bytes_of, folder)
    import asyncpg

    connection = await asyncpg.connect(superuser_url)
    into = BytesIO()
    for (name,) in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        await connection.copy_from_table(name, output=into, format="binary")
    await connection.close()
    return into.getvalue()


def _bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("chatkeep.db*")))
