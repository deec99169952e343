"""Where a server's rows are, for judges who ask no code of chatkeep: a SQLite file, or a PostgreSQL database.

Of PostgreSQL they get what one snapshot holds, copied into SQLite's memory: the same SQL judges both engines.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import apsw
import asyncpg

from chatkeep import wiring
from chatkeep.config import Settings
from chatkeep.services.doctor import examine

if TYPE_CHECKING:
    import pytest

Engine = Literal["sqlite", "postgres"]
ENGINES: tuple[Engine, ...] = ("sqlite", "postgres")
Place: TypeAlias = Path | str
TABLES = ("chats", "messages", "runs", "events", "idempotency")
LEASE_S, SWEEP_S = 1.0, 0.3


def opened(place: Place) -> apsw.Connection:
    """A connection to the rows, or to their copy; whoever asked closes it."""
    if isinstance(place, str):
        return _copied(place)
    connection = apsw.Connection(str(place), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(10_000)
    return connection


def settings_on(engine: Engine, request: pytest.FixtureRequest) -> dict[str, Any]:
    """A server's settings on this engine. On PostgreSQL who died is known to have died when his leases run out only."""
    if engine == "sqlite":
        return {}
    url = request.getfixturevalue("postgres_url")
    return {"database_url": url, "lease_s": LEASE_S, "sweep_interval_s": SWEEP_S}


def place_of(settings: dict[str, Any], data: Path) -> Place:
    """Where a server with these settings keeps its rows."""
    return settings.get("database_url") or data / "chatkeep.db"


async def doctor_finds(settings: dict[str, Any], data: Path) -> list[str]:
    """What `chatkeep doctor` says against the rows; it is asked of the code that judges, not of a server."""
    system = wiring.make_system(Settings(data=data, local_model=False, **settings))
    try:
        return [each.sentence for findings in (await examine(system)).values() for each in findings]
    finally:
        await wiring.close(system)


def leases_s(settings: dict[str, Any]) -> float:
    """How long a dead server's run may say that it is running: none on SQLite, where the next start knows."""
    return 2 * settings["lease_s"] if "database_url" in settings else 0.0


def _copied(url: str) -> apsw.Connection:
    found: dict[str, list[asyncpg.Record]] = {}
    # The judge is asked from within a running loop.
    reading = threading.Thread(target=lambda: found.update(asyncio.run(_read(url))))
    reading.start()
    reading.join()
    assert len(found) == len(TABLES), "the database could not be read"
    copy = apsw.Connection(":memory:")
    with copy:
        for table, rows in found.items():
            names = list(rows[0].keys())
            copy.execute(f"CREATE TABLE {table} ({', '.join(names)})")
            places = ", ".join("?" * len(names))
            copy.executemany(f"INSERT INTO {table} VALUES ({places})", [tuple(row) for row in rows[1:]])
    return copy


async def _read(url: str) -> dict[str, list[Any]]:
    """All rows of each table, the first one being of nothing but its names."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute("SET LOCAL ROLE chatkeep_system")
            return {table: await _rows(connection, table) for table in TABLES}
    finally:
        await connection.close()


async def _rows(connection: asyncpg.Connection, table: str) -> list[Any]:
    asked = await connection.prepare(f"SELECT * FROM {table}")
    names = {attribute.name: None for attribute in asked.get_attributes()}
    return [names, *await asked.fetch()]
