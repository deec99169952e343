"""Brings a PostgreSQL schema up to date: numbered steps, each in a transaction, one process at a time.

Ordinary steps are such that servers of the version before go on working; post steps wait until those are gone
(`chatkeep migrate --post`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg

from chatkeep.domain.errors import ChatkeepError, StoreRefused
from chatkeep.store import migrations, statements
from chatkeep.store.agreements import COPY
from chatkeep.store.postgres_connections import LOCK_TIMEOUT_MS, SYSTEM, TENANT, connect
from chatkeep.store.postgres_errors import ENGINE_ERRORS, translate
from chatkeep.store.postgres_moment import DatabaseClock, time_at

T = TypeVar("T")
ONE_AT_A_TIME = 0x636B7032
"""The advisory lock of whoever migrates."""
LOCK_ATTEMPTS = 15
SERVER_MIN = 140_000
_LEDGER = """
CREATE TABLE IF NOT EXISTS chatkeep_schema (
    number     INTEGER PRIMARY KEY,
    is_post    BOOLEAN NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
)
"""


@dataclass(frozen=True, slots=True)
class Schema:
    """What was found: the database's clock, the numbers of the post steps that are still to be taken, and the source of
    a copy that has not ended.
    """

    clock: DatabaseClock
    post_steps_left: tuple[int, ...]
    copied_from: str | None


def migrate(url: str, *, with_post: bool = False) -> Schema:
    """Bring the schema up to date; may block. Raises `StoreRefused` for a newer one, and where a role is missing."""
    return _at_once(_migrate(url, with_post=with_post))


async def _migrate(url: str, *, with_post: bool) -> Schema:
    try:
        connection = await connect(url)
        try:
            if connection.get_server_version().major * 10_000 < SERVER_MIN:
                raise StoreRefused("chatkeep needs PostgreSQL 14 or later.")
            await connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
            await connection.execute("SELECT pg_advisory_lock($1)", ONE_AT_A_TIME)
            await connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
            steps = migrations.load("postgres")
            known = await _known(connection, steps)
            for step in steps:
                if step.number not in known and (with_post or not step.is_post):
                    await _take(connection, step)
                    known.add(step.number)
            now_us = await time_at(connection)
            left = tuple(step.number for step in steps if step.number not in known)
            mark = statements.load_numbered("postgres")["system_agreement_get"].text
            return Schema(DatabaseClock(now_us), left, await connection.fetchval(mark, COPY))
        finally:
            connection.terminate()
    except ChatkeepError:
        raise
    except ENGINE_ERRORS as error:
        raise StoreRefused(f"The database cannot be opened: {error or translate(error)}") from error


async def _known(connection: asyncpg.Connection, steps: tuple[migrations.Step, ...]) -> set[int]:
    found = await connection.fetchval("SELECT to_regclass('chatkeep_schema')")
    if found is None:
        await _make_roles(connection)
        await connection.execute(_LEDGER)
        await connection.execute(f"GRANT SELECT ON chatkeep_schema TO {SYSTEM}")  # for dumps
        return set()
    rows = await connection.fetch("SELECT number, is_post FROM chatkeep_schema")
    newer = [number for number, is_post in rows if is_post and number > len(steps)]
    if newer:
        raise StoreRefused(f"The database has schema {max(newer)}, newer than this chatkeep's {len(steps)}.")
    return {number for number, _ in rows}


async def _make_roles(connection: asyncpg.Connection) -> None:
    rows = await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname = ANY($1)", [TENANT, SYSTEM])
    present = {row[0] for row in rows}
    try:
        for role in (TENANT, SYSTEM):
            if role not in present:
                try:
                    await connection.execute(f"CREATE ROLE {role} NOLOGIN")
                except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
                    pass  # roles are the whole server's: another database's first start has just made it
            try:
                await connection.execute(f"SET ROLE {role}")
            except asyncpg.InsufficientPrivilegeError:
                await connection.execute(f"GRANT {role} TO CURRENT_USER{_membership(connection)}")
            await connection.execute("RESET ROLE")
    except asyncpg.InsufficientPrivilegeError as error:
        raise StoreRefused(
            f"The role of the database's URL may not make roles. Have an administrator run: "
            f"CREATE ROLE {TENANT} NOLOGIN; CREATE ROLE {SYSTEM} NOLOGIN; "
            f"GRANT {TENANT}, {SYSTEM} TO the role of the URL."
        ) from error


def _membership(connection: asyncpg.Connection) -> str:
    """It may take the role, and without that has none of its rights, where the server knows the difference."""
    return " WITH INHERIT FALSE, SET TRUE" if connection.get_server_version().major >= 16 else ""


async def _take(connection: asyncpg.Connection, step: migrations.Step) -> None:
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            async with connection.transaction():
                await connection.execute(step.sql)
                await connection.execute(
                    "INSERT INTO chatkeep_schema (number, is_post) VALUES ($1, $2)", step.number, step.is_post
                )
        except asyncpg.LockNotAvailableError:  # whoever waits for a lock keeps all others waiting behind it
            if attempt == LOCK_ATTEMPTS:
                raise
            await asyncio.sleep(attempt / 4)
        else:
            return


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, from wherever it is asked for: also inside a running loop."""
    with ThreadPoolExecutor(1, thread_name_prefix="store-migration") as elsewhere:
        return elsewhere.submit(asyncio.run, work).result()
