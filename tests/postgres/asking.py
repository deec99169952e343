"""A word with a PostgreSQL, for tests that are not async."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg


def ask(url: str, query: str) -> Any:
    """The first value of the first row; None if there is no row."""
    return asyncio.run(_through(url, "fetchval", query))


def tell(url: str, statements: str) -> None:
    """Run them, in one transaction."""
    asyncio.run(_through(url, "execute", statements))


async def _through(url: str, verb: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await getattr(connection, verb)(sql)
    finally:
        await connection.close()
