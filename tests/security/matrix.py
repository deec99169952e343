"""The isolation matrix (design/trust.md T1): who asks, what must come of it, and the one core check.

A owns one of everything with a secret word in it. B is a stranger with an estate of its own. Two twins own copies of
A's rows, ids included and the word exchanged, but for a few things they lack: a query that forgets the organisation
finds one row too many. One twin sorts before A and one after it, so that A's row comes first or last; they are never
there at the same time. Each request starts from the same rows, clock, dice and memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import structlog

from chatkeep.domain.ids import PrincipalId
from chatkeep.domain.principal import ROLE_SCOPES, SCOPES, Role
from chatkeep.services import credentials, keys, people, tokens
from tests.security.declared import Asked, Manners, Place, Row, Table, fill
from tests.security.estate import CANARY, TWIN_LACKS, Estate, colleague, lookalike, operator, plant
from tests.security.ledger import Ledger
from tests.upstream import ScriptedUpstream
from tests.world import Caller, FakeClock, World, open_world

B_WORD, TWIN_WORD = "schlichtwort", "zwillingswort"
TWIN_IDS = ("00000000-0000-7000-8000-000000000001", "ffffffff-0000-7000-8000-000000000001")
MACHINE = "machine"  # the service behind the access token; in the twins it may only read
LIMITS = {"runs_per_organisation_max": 2}  # one of A's is running, and one of the twins'
NO_ID = "no such thing"
UNSOUND_ID = "no-such-thing"
SHARED = frozenset({"free"})  # slots that are the same in every estate
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
_DURATION = re.compile(r"(\"response_?[tT]ime_?[mM]s\": ?)[0-9]+")


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
        self.world.client.cookies.clear()  # the credential is the one given here and no other
        return await self.world.client.request(
            asked.method, asked.url, params=asked.query or None, headers=sent, follow_redirects=False, **body
        )

    async def metrics(self) -> bytes:
        """What Prometheus sees."""
        return (await self.world.client.get("/metrics")).content

    def secret(self, column: str, row: Row) -> str | None:
        """The credential of a column for a row."""
        if column == "A narrow key":
            return self.secrets[f"{column} {row.scope}"]
        return self.secrets.get(column)


@asynccontextmanager
async def open_matrix(data: Path) -> AsyncIterator[Matrix]:
    """A world with the three organisations and all columns, its rows kept."""
    async with ScriptedUpstream() as upstream, open_world(data, FakeClock(), upstream, **LIMITS) as world:
        a = await plant(world, world.owner, CANARY)
        b = await plant(world, await world.organisation("Stranger"), B_WORD)
        secrets = await _columns(world, a)
        ledger = Ledger(world)
        try:
            secrets["A owner"], secrets["B owner"] = a.owner.key, b.owner.key
            twins = [await _twin(world, ledger, a, organisation_id) for organisation_id in TWIN_IDS]
            matrix = Matrix(world, ledger, a, b, tuple(twins), secrets)
            await _settle(matrix)
            for twin, other in zip(twins, reversed(twins), strict=True):
                # ids of credentials are unique on the whole server, so this twin's come back with its other rows
                rows = ledger.rows_of(other.organisation_id)
                await ledger.erase(other.organisation_id)
                ledger.keep(twin.organisation_id)
                await ledger.insert(rows)
            yield matrix
        finally:
            ledger.close()


def expected(row: Row, column: str, manners: Manners) -> int:
    """The declared status of a row for a column, everything it names being A's."""
    if column in row.statuses:
        return row.statuses[column]
    if row.is_public:
        return row.ok
    if column in DEAD:
        return manners.unauthenticated
    no_scope = manners.no_scope if row.no_scope is None else row.no_scope
    if row.scope is not None and (column == "A narrow key" or row.scope not in ROLE_SCOPES[ROLES[column]]):
        return no_scope
    is_owner = column in ("A owner", "A session token", "A narrow key")
    is_manager = is_owner or column in ("A admin", "A m2m token")
    if row.reach == "all" or is_owner or (row.reach == "managed" and is_manager):
        return row.ok
    return manners.not_found if row.not_found is None else row.not_found


async def check_column(matrix: Matrix, table: Table, row: Row, column: str) -> None:
    """One caller asks for A's things: the declared status, and nothing changed or told where refused."""
    await matrix.restore()
    before = matrix.ledger.digest(matrix.a.organisation_id)
    answer = await matrix.ask(table, fill(table, row, matrix.a.ids, {}), matrix.secret(column, row))
    wanted = expected(row, column, table.manners)
    assert answer.status_code == wanted, (
        f"{column} got {answer.status_code}, not {wanted}: {answer.text[:300]}"
    )
    if answer.status_code >= 400:
        assert matrix.ledger.digest(matrix.a.organisation_id) == before, (
            f"{column} was refused and changed rows"
        )
        if column in DEAD:
            check_silence(matrix, answer, frozenset(matrix.a.ids.values()))


async def check_foreign(matrix: Matrix, table: Table, row: Row) -> None:
    """B asks with A's ids, with ids nobody has and with text that is no id, place by place: always the same answer."""
    for place in row.places():
        if place.slot in SHARED:
            continue
        foreign = matrix.a.ids[place.slot]
        wanted = row.status_of_wrong(place, table.manners)
        first = await _as_stranger(matrix, table, row, {place: foreign})
        assert first.status_code == wanted, (
            f"{place.name}: {first.status_code}, not {wanted}: {first.text[:300]}"
        )
        sent = frozenset({foreign, lookalike(foreign), UNSOUND_ID}) if row.is_fresh else frozenset()
        _check_same(
            place.name, first, await _as_stranger(matrix, table, row, {place: lookalike(foreign)}), sent
        )
        for text in (NO_ID, UNSOUND_ID) if place.where == "path" else (UNSOUND_ID,):
            other = await _as_stranger(matrix, table, row, {place: text})
            if place.name in row.malformed:
                assert other.status_code == row.malformed[place.name], (
                    f"{place.name} = {text!r}: {other.text[:300]}"
                )
            else:
                _check_same(f"{place.name} = {text!r}", first, other, sent)
    every = {place: matrix.a.ids[place.slot] for place in row.places() if place.slot not in SHARED}
    if len(every) > 1:
        random = {place: lookalike(value) for place, value in every.items()}
        first = await _as_stranger(matrix, table, row, every)
        sent = frozenset({*every.values(), *random.values()}) if row.is_fresh else frozenset()
        _check_same("all places", first, await _as_stranger(matrix, table, row, random), sent)


async def check_twin(matrix: Matrix, table: Table, row: Row) -> None:
    """The twins ask for their own things, called as A's are: served as if A were not there, A's rows unchanged."""
    for twin in matrix.twins:
        asked = fill(table, row, twin.ids, {})
        for caller in (twin.owner, twin.person):
            await matrix.restore(twin)
            if row.method == "GET":
                await matrix.ask(
                    table, asked, matrix.a.owner.key
                )  # so that what is remembered of A's is at hand
            answer = await _as_twin(matrix, table, asked, caller.key)
            if caller is twin.owner:
                wanted = _status_of_twin(row, table.manners)
                assert answer.status_code == wanted, (
                    f"{answer.status_code}, not {wanted}: {answer.text[:300]}"
                )
            after = matrix.ledger.digest(twin.organisation_id)
            await matrix.restore(twin)
            await matrix.ledger.erase(matrix.a.organisation_id)
            alone = await matrix.ask(table, asked, caller.key)
            _check_same("with A and without", alone, answer, frozenset())
            assert matrix.ledger.digest(twin.organisation_id) == after, (
                "A's rows were felt in the twin's rows"
            )


async def check_idempotency(matrix: Matrix, table: Table, row: Row) -> None:
    """The twin's Idempotency-Key is its own, though caller, route and key are called as A's are."""
    twin = matrix.twins[0]
    await matrix.restore()
    asked = fill(table, row, matrix.a.ids, {})
    key = {"idempotency-key": "the-same-key"}
    first = await matrix.ask(table, asked, matrix.a.owner.key, **key)
    assert first.status_code == row.ok, first.text
    matrix.ledger.dice.turn()  # the twin's new ids shall be A's new ids too
    answer = await _as_twin(matrix, table, fill(table, row, twin.ids, {}), twin.owner.key, **key)
    assert answer.status_code == _status_of_twin(row, table.manners), answer.text
    assert "idempotency-replayed" not in answer.headers, "the twin got A's answer again"


async def _as_twin(matrix: Matrix, table: Table, asked: Asked, key: str, **headers: str) -> httpx.Response:
    before = matrix.ledger.digest(matrix.a.organisation_id)
    answer = await matrix.ask(table, asked, key, **headers)
    assert matrix.ledger.digest(matrix.a.organisation_id) == before, "the twin changed A's rows"
    check_silence(matrix, answer, frozenset(matrix.a.ids.values()))
    return answer


def _status_of_twin(row: Row, manners: Manners) -> int:
    lacking = [row.status_of_wrong(place, manners) for place in row.places() if place.slot in TWIN_LACKS]
    return max(lacking, default=row.ok)


def check_silence(matrix: Matrix, answer: httpx.Response, sent: frozenset[str]) -> None:
    """The answer holds neither A's word nor an id of A's that was not in the request."""
    told = answer.text + "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
    assert CANARY not in told.lower(), f"A's word was told: {told[:500]}"
    ids = {value for slot, value in matrix.a.ids.items() if slot not in SHARED} | {matrix.a.organisation_id}
    for value in ids - sent:
        assert value not in told, f"an id of A's was told: {value}"


@asynccontextmanager
async def silent_outside(matrix: Matrix) -> AsyncIterator[None]:
    """Nothing of A's word in logs and metrics of what happens inside."""
    edge, requests = matrix.world.server.edge, list[bytes]()
    edge._requests_log = requests.append
    with structlog.testing.capture_logs() as lines:
        yield
    edge._requests_log = None
    assert requests, "no request was logged"
    logged = json.dumps(lines, default=repr).encode() + b"".join(requests)
    assert CANARY.encode() not in logged.lower(), "A's word is in the log"
    assert CANARY.encode() not in (await matrix.metrics()).lower(), "A's word is in the metrics"


async def _as_stranger(
    matrix: Matrix, table: Table, row: Row, instead: Mapping[Place, str]
) -> httpx.Response:
    await matrix.restore()
    before = matrix.ledger.digest(matrix.a.organisation_id)
    asked = fill(table, row, matrix.b.ids, instead)
    answer = await matrix.ask(table, asked, matrix.b.owner.key)
    assert matrix.ledger.digest(matrix.a.organisation_id) == before, f"B changed A's rows with {instead}"
    check_silence(matrix, answer, asked.sent)
    return answer


def _check_same(what: str, first: httpx.Response, other: httpx.Response, sent: frozenset[str]) -> None:
    """Byte by byte the same; `sent` are the ids that a served request may see again in its answer."""
    assert other.status_code == first.status_code, f"{what}: {other.status_code}, not {first.status_code}"
    texts = [_plain(answer.text, sent) for answer in (first, other)]
    assert texts[1] == texts[0], f"{what}: {texts[1][:500]} is not {texts[0][:500]}"
    headers = [[(name, _plain(value, sent)) for name, value in _headers(answer)] for answer in (first, other)]
    assert headers[1] == headers[0], f"{what}: not the same headers"


def _headers(answer: httpx.Response) -> list[tuple[str, str]]:
    # The length is that of the body, which has been compared.
    return [(name, value) for name, value in answer.headers.multi_items() if name != "content-length"]


def _plain(text: str, sent: frozenset[str]) -> str:
    for value in sorted(sent):
        text = text.replace(value, "#")
    return _DURATION.sub(r"\1#", text)


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
    await ledger.change((new, (organisation_id, f"Organisation {TWIN_WORD}")))
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
    await ledger.change(
        *lacking,
        (shorter, (a.ids["shared_message"], organisation_id, a.ids["shared"])),
        (elsewhere, (organisation_id, a.ids["session"])),
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
