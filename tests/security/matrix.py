"""The isolation matrix (design/trust.md T1): what must come of each request, and the core checks. See `stage`."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import structlog

from chatkeep.domain.principal import ROLE_SCOPES
from tests.security.declared import Asked, Manners, Place, Row, Table, fill
from tests.security.estate import CANARY, TWIN_LACKS, lookalike
from tests.security.stage import DEAD, ROLES, Matrix

NO_ID = "no such thing"
UNSOUND_ID = "no-such-thing"
SHARED = frozenset({"free"})  # slots that are the same in every estate
_DURATION = re.compile(r"(\"response_?[tT]ime_?[mM]s\": ?)[0-9]+")


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
    before = await matrix.ledger.digest(matrix.a.organisation_id)
    answer = await matrix.ask(table, fill(table, row, matrix.a.ids, {}), matrix.secret(column, row))
    wanted = expected(row, column, table.manners)
    assert answer.status_code == wanted, (
        f"{column} got {answer.status_code}, not {wanted}: {answer.text[:300]}"
    )
    if answer.status_code >= 400:
        assert await matrix.ledger.digest(matrix.a.organisation_id) == before, (
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
            after = await matrix.ledger.digest(twin.organisation_id)
            await matrix.restore(twin)
            await matrix.ledger.erase(matrix.a.organisation_id)
            alone = await matrix.ask(table, asked, caller.key)
            _check_same("with A and without", alone, answer, frozenset())
            assert await matrix.ledger.digest(twin.organisation_id) == after, (
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
    for caller, before in ((matrix.a.owner, first), (twin.owner, answer)):
        ids = matrix.a.ids if caller is matrix.a.owner else twin.ids
        again = await matrix.ask(table, fill(table, row, ids, {}), caller.key, **key)
        if caller is twin.owner:
            check_silence(matrix, again, frozenset(matrix.a.ids.values()))
        is_stream = "event-stream" in before.headers["content-type"]  # which is replayed from its journal
        if "idempotency-replayed" in again.headers and not is_stream:
            texts = [_plain(answered.text, frozenset()) for answered in (before, again)]
            assert texts[0] == texts[1], "another one's answer came again"


async def _as_twin(matrix: Matrix, table: Table, asked: Asked, key: str, **headers: str) -> httpx.Response:
    before = await matrix.ledger.digest(matrix.a.organisation_id)
    answer = await matrix.ask(table, asked, key, **headers)
    assert await matrix.ledger.digest(matrix.a.organisation_id) == before, "the twin changed A's rows"
    check_silence(matrix, answer, frozenset(matrix.a.ids.values()))
    return answer


def _status_of_twin(row: Row, manners: Manners) -> int:
    if row.of_twin is not None:
        return row.of_twin
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
    edge.reporter.lines = requests.append
    with structlog.testing.capture_logs() as lines:
        yield
    edge.reporter.lines = None
    assert requests, "no request was logged"
    logged = json.dumps(lines, default=repr).encode() + b"".join(requests)
    assert CANARY.encode() not in logged.lower(), "A's word is in the log"
    assert CANARY.encode() not in (await matrix.metrics()).lower(), "A's word is in the metrics"


async def _as_stranger(
    matrix: Matrix, table: Table, row: Row, instead: Mapping[Place, str]
) -> httpx.Response:
    await matrix.restore()
    before = await matrix.ledger.digest(matrix.a.organisation_id)
    asked = fill(table, row, matrix.b.ids, instead)
    answer = await matrix.ask(table, asked, matrix.b.owner.key)
    assert await matrix.ledger.digest(matrix.a.organisation_id) == before, (
        f"B changed A's rows with {instead}"
    )
    check_silence(matrix, answer, asked.sent)
    return answer


def _check_same(what: str, first: httpx.Response, other: httpx.Response, sent: frozenset[str]) -> None:
    """Byte by byte the same; `sent` are the ids that a served request may see again in its answer."""
    assert other.status_code == first.status_code, f"{what}: {other.status_code}, not {first.status_code}"
    texts = [_plain(answer.text, sent) for answer in (first, other)]
    assert texts[1] == texts[0], f"{what}: {texts[1][:5000]} is not {texts[0][:5000]}"
    headers = [[(name, _plain(value, sent)) for name, value in _headers(answer)] for answer in (first, other)]
    assert headers[1] == headers[0], f"{what}: not the same headers"


def _headers(answer: httpx.Response) -> list[tuple[str, str]]:
    # The length is that of the body, which has been compared.
    return [(name, value) for name, value in answer.headers.multi_items() if name != "content-length"]


def _plain(text: str, sent: frozenset[str]) -> str:
    for value in sorted(sent):
        text = text.replace(value, "#")
    return _DURATION.sub(r"\1#", text)
