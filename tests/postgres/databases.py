"""Databases nobody has written to, one for each test, as quickly as PostgreSQL can hand them out.

The first is made from a template; one that comes back is emptied and lent again: 5 to 8 ms, by how much was written,
where a new one takes 25 with its removal (40 on a disk). It is lent again only if nothing but rows has changed since
the template was made, and not for ever. Everything runs in a thread of its own: callable from any test, async or not.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg

from tests.postgres import recycling
from tests.postgres.server import ROLE

T = TypeVar("T")
USES = 100
DEADLINE_S = 60.0
GONE = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    OSError,
)


@dataclass(slots=True)
class _Database:
    name: str
    uses: int = 0
    connection: asyncpg.Connection | None = None


@dataclass(slots=True)
class _Estate:
    """What there is on the server."""

    template: str | None = None
    mark: recycling.Mark | None = None
    made: int = 0
    free: list[_Database] = field(default_factory=list)
    lent: dict[str, _Database] = field(default_factory=dict)


class Databases:
    """`admin_url` is of a superuser, or of a role with CREATEDB and CREATEROLE: then nothing is lent twice (slower).

    `prepare` is called once with the URL of an empty database and makes of it what each fresh one is a copy of.
    `uses` is how often one may be lent; 1 is for tests that must not share even a file on the disk.
    """

    def __init__(
        self,
        admin_url: str,
        *,
        prepare: Callable[[str], None] | None = None,
        key: str = "test",
        uses: int = USES,
    ) -> None:
        self._admin_url = admin_url
        self._prepare = prepare
        self._prefix = f"{ROLE}_{key}_{secrets.token_hex(4)}"
        self._uses = uses
        self._estate = _Estate()
        self._admin: asyncpg.Connection | None = None
        self._is_superuser = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=self._prefix, daemon=True)
        self._thread.start()

    def fresh(self) -> str:
        """The URL by which chatkeep's own role (no superuser) gets at a database that is as `prepare` left it."""
        return self._wait(self._lend())

    def drop(self, url: str) -> None:
        """Give it back. Connections that are still open end; a URL that is not (or no longer) lent is a `KeyError`."""
        self._wait(self._take_back(self._estate.lent.pop(url)))

    def close(self) -> None:
        """Remove all databases, lent or not, and end the thread."""
        self._wait(self._remove_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Databases:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, DEADLINE_S), self._loop).result()

    async def _lend(self) -> str:
        estate = self._estate
        if estate.template is None:
            estate.template = await self._make_template()
        database = estate.free.pop() if estate.free else await self._make(estate.template)
        database.uses += 1
        url = self._url(database.name)
        estate.lent[url] = database
        return url

    async def _take_back(self, database: _Database) -> None:
        if self._estate.mark is not None and database.uses < self._uses:
            try:
                if database.connection is None:
                    database.connection = await recycling.connect(self._admin_url_of(database.name))
                if await recycling.empty(database.connection, database.name, self._estate.mark):
                    self._estate.free.append(database)
                    return
            except GONE:
                pass  # the server was restarted, or the test dropped it: the next one will be a new one
        await self._remove(database)

    async def _make_template(self) -> str:
        admin = await self._connected()
        name = f"{self._prefix}_template"
        await admin.execute(f'CREATE DATABASE "{name}" OWNER {ROLE}')
        if self._prepare is not None:
            await asyncio.to_thread(self._prepare, self._url(name))
        await recycling.end_connections(admin, name)
        if self._is_superuser:
            connection = await recycling.connect(self._admin_url_of(name))
            self._estate.mark = await recycling.mark(connection)
            await connection.close()
            await recycling.end_connections(admin, name)
        return name

    async def _make(self, template: str) -> _Database:
        admin = await self._connected()
        self._estate.made += 1
        name = f"{self._prefix}_{self._estate.made}"
        # FILE_COPY: half the time of WAL_LOG, and it brings the cache file that spares the first connection 5 ms.
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER {ROLE} STRATEGY FILE_COPY')
        return _Database(name)

    async def _remove(self, database: _Database) -> None:
        if database.connection is not None:
            database.connection.terminate()
        admin = await self._connected()
        await recycling.end_connections(admin, database.name)
        await admin.execute(f'DROP DATABASE IF EXISTS "{database.name}" WITH (FORCE)')

    async def _remove_all(self) -> None:
        estate, self._estate = self._estate, _Estate()
        if estate.template is not None:
            for database in (*estate.free, *estate.lent.values(), _Database(estate.template)):
                await self._remove(database)
        if self._admin is not None:
            await self._admin.close()

    async def _connected(self) -> asyncpg.Connection:
        if self._admin is None or self._admin.is_closed():
            self._admin = await asyncpg.connect(self._admin_url)
            self._is_superuser = await self._admin.fetchval("SELECT current_setting('is_superuser')::bool")
            await self._make_role(self._admin)
        return self._admin

    async def _make_role(self, admin: asyncpg.Connection) -> None:
        password = f"PASSWORD '{ROLE}'" if urlsplit(self._admin_url).password else ""
        try:
            await admin.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB CREATEROLE {password}")
        except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            pass  # the usual case: our own server has it from its start, another one since the last run
        if not self._is_superuser:
            await admin.execute(f"GRANT {ROLE} TO CURRENT_USER")  # to make what it owns

    def _admin_url_of(self, name: str) -> str:
        return urlsplit(self._admin_url)._replace(path=f"/{name}").geturl()

    def _url(self, name: str) -> str:
        parts = urlsplit(self._admin_url)
        who = f"{ROLE}:{ROLE}" if parts.password else ROLE
        return parts._replace(netloc=f"{who}@{parts.netloc.rpartition('@')[2]}", path=f"/{name}").geturl()
