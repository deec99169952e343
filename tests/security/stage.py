"""The stage of the isolation matrix: the three kinds of organisations, and everybody who asks.

A owns one of everything with a secret word in it. B is a stranger with an estate of its own. Two twins own copies of
A's rows, ids included and the word exchanged, but for a few things they lack: a query that forgets the organisation
finds one row too many. One twin sorts before A and one after it, so that A's row comes first or last; they are never
there at the same time. Each request starts from the same rows, clock, dice and memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from chatkeep.domain.ids import PrincipalId
from chatkeep.domain.principal import SCOPES, Role
from chatkeep.services import credentials, keys, people, tokens
from tests.security.declared import Asked, Row, Table
from tests.security.estate import CANARY, TWIN_LACKS, Estate, colleague, operator, plant
from tests.security.exchanging import exchangeable
from tests.security.ledger import Ledger
from tests.security.rows import Database, open_rows
from tests.upstream import Script, ScriptedUpstream
from tests.world import Caller, FakeClock, World, open_world

B_WORD, TWIN_WORD = "schlichtwort", "zwillingswort"
TWIN_IDS = ("00000000-0000-7000-8000-000000000001", "ffffffff-0000-7000-8000-000000000001")
MACHINE = "machine"  # the service behind the access token; in the twins it may only read
LIMITS = {
    "runs_per_organisation_max": 2,  # one of A's is running, and one of each twin's
    "streams_per_organisation_max": 2,  # likewise, at another node
    "tokens_per_organisation_max": 1_000_000,  # so that budgets are looked at
}
DEAD = (
    "anonymous",
    "revoked",
    "expired",
    "suspended organisation",
    "suspended session token",
    "suspended m2m token",
    "disabled account",
    "disabled session token",
)
ROLES: Mapping[str, Role] = {
    "A owner": "owner",
    "A admin": "admin",
    "A member": "member",
    "A read-only": "read-only",
    "A m2m token": "admin",
    "A session token": "owner",
}
COLUMNS = (*ROLES, "A narrow key", *DEAD)
PUBLIC_COLUMNS = ("anonymous", "A owner", "revoked")


class Terse(ScriptedUpstream):
    """Says everything at once, so that the journal is the same each time."""

    def _echo(self, body: dict[str, Any]) -> Script:
        echo = super()._echo(body)
        return replace(echo, chunks=["".join(echo.chunks)])


class PatientClock(FakeClock):
    """Moves by requests alone once it stands: what works in the background looks at it more often or less."""

    stands = False

    def now_us(self) -> int:
        return self._now_us if self.stands else super().now_us()


@dataclass(frozen=True)
class Twin:
    """A copy of A: its owner, and the member with the id of A's `person`."""

    owner: Caller
    person: Caller
    ids: Mapping[str, str]

    @property
    def organisation_id(self) -> str:
        return self.owner.organisation_id


@dataclass(frozen=True)
class Matrix:
    """The world and everybody in it, kept as they were when it was made."""

    world: World
    ledger: Ledger
    a: Estate
    b: Estate
    twins: tuple[Twin, ...]
    secrets: Mapping[str, str]
    """The bearer credential of each column but `anonymous`; narrow keys as `A narrow key chat:read`."""

    async def restore(self, twin: Twin | None = None) -> None:
        """Everything as it was, with this twin in the house."""
        await self.ledger.restore((twin or self.twins[0]).organisation_id)

    async def ask(self, table: Table, asked: Asked, secret: str | None, **headers: str) -> httpx.Response:
        """Send one request with a credential; its own id is fixed, so that answers can be compared byte by byte."""
        sent = {"x-request-id": "matrix", **headers}
        if secret is not None:
            sent |= table.manners.credential(secret)
        body: dict[str, Any] = {} if asked.body is None else {"json": asked.body}
        self.world.clock.advance(0.001)
        self.world.client.cookies.clear()  # the credential is the one given here and no other
        answer = await self.world.client.request(
            asked.method, asked.url, params=asked.query or None, headers=sent, follow_redirects=False, **body
        )
        if telling := self.world.server.house.streams._by_holder._telling:
            await telling  # where nodes count streams together, that one has ended is told after the answer
        return answer

    async def metrics(self) -> bytes:
        """What Prometheus sees."""
        return (await self.world.client.get("/metrics")).content

    def secret(self, column: str, row: Row) -> str | None:
        """The credential of a column for a row."""
        if column == "A narrow key":
            return self.secrets[f"{column} {row.scope}"]
        return self.secrets.get(column)


@asynccontextmanager
async def open_matrix(data: Path, database: Database | None = None) -> AsyncIterator[Matrix]:
    """A world with the three organisations and all columns, its rows kept."""
    url, superuser_url = (None, None) if database is None else (database.url, database.superuser_url)
    clock = PatientClock()
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(Terse())
        with exchangeable():
            opened = open_world(data, clock, upstream, database_url=url, **LIMITS)
            world = await stack.enter_async_context(opened)
        rows = await stack.enter_async_context(open_rows(world, superuser_url))
        a = await plant(world, rows, world.owner, CANARY)
        b = await plant(world, rows, await world.organisation("Stranger"), B_WORD)
        secrets = await _columns(world, a)
        world.server.house.tail.close()  # whoever follows a chat is told what there is, and that is all
        ledger = Ledger(world, rows)
        secrets["A owner"], secrets["B owner"] = a.owner.key, b.owner.key
        twins = [await _twin(world, ledger, a, organisation_id) for organisation_id in TWIN_IDS]
        matrix = Matrix(world, ledger, a, b, tuple(twins), secrets)
        await _settle(matrix)
        clock.stands = True
        for twin, other in zip(twins, reversed(twins), strict=True):
            # ids of credentials are unique on the whole server, so this twin's come back with its other rows
            away = await rows.of(other.organisation_id)
            await ledger.erase(other.organisation_id)
            await ledger.keep(twin.organisation_id)
            await rows.insert(away)
        yield matrix


async def _columns(world: World, a: Estate) -> dict[str, str]:
    owner, other = a.owner, await world.organisation("Suspended")
    callers: dict[str, Caller] = {
        "A admin": await colleague(world, owner, "admin"),
        "A member": await colleague(world, owner, "member"),
        "A read-only": await colleague(world, owner, "read-only"),
        "revoked": await colleague(world, owner, "owner"),
        "expired": await colleague(world, owner, "owner", expires_in_s=60),
        "disabled account": await colleague(world, owner, "owner"),
        "suspended organisation": other,
    }
    for scope in SCOPES:
        others = tuple(each for each in SCOPES if each != scope)
        callers[f"A narrow key {scope}"] = await colleague(world, owner, "owner", others)
    callers["A narrow key None"] = owner
    secrets = {name: caller.key for name, caller in callers.items()}
    secrets["A session token"] = await _session(world, owner)
    secrets["disabled session token"] = await _session(world, callers["disabled account"])
    secrets["suspended session token"] = await _session(world, other)
    secrets["A m2m token"] = await _access_token(world, owner)
    secrets["suspended m2m token"] = await _access_token(world, other)
    await world.revoke(callers["revoked"])
    await world.disable(callers["disabled account"])
    await world.suspend(other)
    world.clock.advance(120)
    return secrets


async def _session(world: World, caller: Caller) -> str:
    account = await people.get(operator(world, caller), PrincipalId(caller.principal_id))
    return tokens.issue_session(world.system, account).token


async def _access_token(world: World, owner: Caller) -> str:
    ctx = operator(world, owner)
    client = await people.create_service(ctx, MACHINE, "admin")
    shown = await keys.create(ctx, keys.NewKey(client.id, "client", kind="client"))
    holder = await credentials.check_client(world.system, shown.credential.id, shown.secret)
    return tokens.issue_access(world.system, holder).token


async def _twin(world: World, ledger: Ledger, a: Estate, organisation_id: str) -> Twin:
    new = "INSERT INTO organisations (id, name, created_at) VALUES (?, ?, 4000000000000000)"
    await ledger.rows.change((new, (organisation_id, f"Organisation {TWIN_WORD}")))
    # Ids and secrets of credentials are unique on the whole server.
    own = frozenset({"credentials", "chat_people"})
    await ledger.clone(a.organisation_id, organisation_id, without=own, words={CANARY: TWIN_WORD})
    lacking = [
        (f"DELETE FROM {table} WHERE organisation_id = ? AND {column} = ?", (organisation_id, a.ids[slot]))
        for slot, (table, column) in TWIN_LACKS.items()
    ]
    shorter = "UPDATE chats SET (current_message_id, message_count, last_seq) = (?, 1, 1)"
    shorter += " WHERE organisation_id = ? AND id = ?"
    elsewhere = "UPDATE messages SET state_id = 'elsewhere' WHERE organisation_id = ? AND chat_id = ?"
    await ledger.rows.change(
        *lacking,
        (shorter, (a.ids["shared_message"], organisation_id, a.ids["shared"])),
        (elsewhere, (organisation_id, a.ids["session"])),
        ("UPDATE budgets SET started_at = 4000000000000000 WHERE organisation_id = ?", (organisation_id,)),
        (
            "UPDATE principals SET role = 'read-only' WHERE organisation_id = ? AND name = ?",
            (organisation_id, MACHINE),
        ),
    )
    owner = await _key_for(world, replace(a.owner, organisation_id=organisation_id), a.owner.principal_id)
    person = await _key_for(world, owner, a.ids["person"])
    return Twin(owner, person, {slot: value.replace(CANARY, TWIN_WORD) for slot, value in a.ids.items()})


async def _key_for(world: World, owner: Caller, principal_id: str) -> Caller:
    new = keys.NewKey(PrincipalId(principal_id), "twin", scopes=SCOPES)
    shown = await keys.create(operator(world, owner), new)
    return Caller(shown.secret, shown.credential.id, principal_id, owner.organisation_id)


async def _settle(matrix: Matrix) -> None:
    """Every credential used once, so that no `last_used_at` moves later; discovery of models done."""
    twins = [caller.key for twin in matrix.twins for caller in (twin.owner, twin.person)]
    for secret in (*matrix.secrets.values(), *twins):
        await matrix.world.client.get("/chatkeep/v1/me", headers={"authorization": f"Bearer {secret}"})
    await matrix.world.native("GET", "/models")
