"""No named statement bound to one organisation shows or touches a row of another: tried with each of them.

Two organisations hold rows with the very same ids and different words, a third holds nothing. Every statement is also
tried on the rows it is for, so that one which does nothing at all does not pass for a safe one.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest

from chatkeep.domain.errors import Conflict
from chatkeep.domain.ids import OrganisationId
from chatkeep.store import nodes, statements
from chatkeep.store.driver import Row, Store, Transaction, Value
from chatkeep.store.nodes import Node
from tests.contract.store.place import ACME, EMPTY, OTHER, found, texts

# In this order, because of the references between them.
INSERTS = (
    "principal_insert",
    "credential_insert",
    "model_insert",
    "agent_insert",
    "folder_insert",
    "chat_insert",
    "chat_people_insert",
    "chat_tag_insert",
    "message_insert",
    "document_insert",
    "share_insert",
    "run_insert",
    "event_insert",
    "budget_put",
    "idempotency_claim",
    "streams_put",
    "sockets_put",
    "request_rate_take",
)
NUMBERS = re.compile(
    r"(.*_at|.*_tokens|.*_bytes|.*_version|.*_ms|.*_count|.*_window|.*_request|supports_.*|is_.*|sees_.*|now|position"
    r"|change|count|alive_since|pinned|archived|enabled|.*seq|turn_number|not_before|at|epoch|events|lease_until|tokens"
    r"|wanted|over_if_before)\Z"
)
NOTHING = {
    "expires_at",
    "end_of_life_at",
    "deprecation_notice",
    "parent_id",
    "parent_model_id",
    "suspended_at",
}
FIXED: dict[str, Value] = {
    "kind": "person",
    "role": "owner",
    "greeting_mode": "human",
    "origin": "api",
    "visibility": "private",
    "session_state": "ongoing",
    "state": "failed",
    "status": "generating",
    "dialect": "native",
    "model_name": "one",
    "provider": "one",
    "before_updated_at": 2**62,
    "before_id": "\x7f",
    "after_id": "",
    "row_limit": 10,
    "row_offset": 0,
    "is_deleted": 0,
    "not_before": 0,
    "credit_multiplier": 1.0,
    "size_bytes": 1,
    "secret_hash": b"",
    "fingerprint": b"",
    "body": b"",
    "first_seq": 0,
    "seqs": "[1]",
}
SPECIAL: dict[tuple[str, str], Value] = {
    ("principal_set_role", "role"): "admin",
    ("message_insert", "role"): "user",
    ("message_insert", "status"): "complete",
    ("idempotency_note", "status"): 200,
    ("idempotency_claim", "not_before"): 2,
    ("idempotency_answer", "status"): 200,
    ("credential_insert", "kind"): "api_key",
    ("messages_after", "seq"): 0,
    ("events_after", "seq"): 0,
    ("event_insert", "kind"): "run.delta",
    ("messages_before", "seq"): 2**62,
    ("model_delete", "id"): "own",
}


def parameters(name: str) -> list[str]:
    return sorted(set(re.findall(r":(\w+)", texts()[name])) - {"organisation_id"})


def value(name: str, parameter: str, word: str) -> Value:
    """What to bind: ids are the same everywhere, texts hold the organisation's word."""
    if (name, parameter) in SPECIAL:
        return SPECIAL[name, parameter]
    if parameter in NOTHING:
        return None
    if parameter in FIXED:
        return word.encode() if FIXED[parameter] == b"" else FIXED[parameter]
    if parameter == "id" and name.startswith("credential"):
        return f"credential {word}"  # the one id that is unique on the whole server
    if parameter == "id" or parameter.endswith(("_id", "_by")) or parameter in ("key", "route"):
        return "one"
    return 1 if NUMBERS.match(parameter) else f'"{word}"'


def values(name: str, word: str) -> dict[str, Value]:
    return {parameter: value(name, parameter, word) for parameter in parameters(name)}


def is_read(name: str) -> bool:
    return _code(name).startswith("SELECT")


def is_insert(name: str) -> bool:
    return _code(name).startswith("INSERT")


def _code(name: str) -> str:
    return re.sub(r"--.*", "", texts()[name]).lstrip()


BOUND = sorted(name for name in texts() if not name.startswith(statements.SYSTEM))
READS = [name for name in BOUND if is_read(name)]
WRITES = [name for name in BOUND if not is_read(name)]


async def furnish(tx: Transaction, word: str) -> None:
    """At least one row of every table."""
    for name in INSERTS:
        await tx.run(name, **values(name, word))
    await tx.run("model_insert", **{**values("model_insert", word), "id": "own", "is_system_model": 0})


async def shown(store: Store, organisation: OrganisationId, word: str) -> dict[str, list[Row]]:
    """Everything that any statement shows of an organisation."""

    async def body(tx: Transaction) -> dict[str, list[Row]]:
        return {name: await tx.all(name, **values(name, word)) for name in READS}

    return await store.read(organisation, body)


class TenancyContract:
    """Subclass it in a test module with a fixture `store`.

    An engine that can be given other statements also shows that each of these tests would see a forgotten organisation.
    """

    @pytest.fixture
    async def furnished(self, store: Store) -> Store:
        await found(store, ACME, OTHER, EMPTY)
        await store.write(None, partial(nodes.seen, node=Node("one", "one", "1", 1, 2, 0, 0)))
        for organisation in (ACME, OTHER):

            async def body(tx: Transaction, word: str = organisation) -> None:
                await furnish(tx, word)

            await store.write(organisation, body)
        return store

    def test_every_table_is_furnished(self) -> None:
        furnishing = ("_insert", "_put", "_claim", "_rate_take")
        assert sorted(INSERTS) == [name for name in WRITES if name.endswith(furnishing)]

    async def test_reads_show_their_own_rows_only(self, furnished: Store) -> None:
        own = await shown(furnished, ACME, ACME)
        assert [name for name, rows in own.items() if _is_nothing(rows)] == [], "these show nothing at all"
        assert _holding(own, OTHER) == []
        assert _holding(own, ACME), "the word is not in any answer, so the test would see no leak"

    async def test_reads_show_nothing_of_others_where_there_is_nothing(self, furnished: Store) -> None:
        for word in (ACME, OTHER):
            rows = await shown(furnished, EMPTY, word)
            assert rows.pop("organisation_lock")[0][0] == EMPTY
            assert [name for name, found_ in rows.items() if not _is_nothing(found_)] == []

    @pytest.mark.parametrize("name", WRITES)
    async def test_writes_touch_their_own_rows_only(self, furnished: Store, name: str) -> None:
        before = await shown(furnished, OTHER, OTHER)
        for organisation in (EMPTY, ACME):
            for word in (OTHER, ACME):
                await _try(furnished, organisation, name, values(name, word))
        assert await shown(furnished, OTHER, OTHER) == before

    @pytest.mark.parametrize("name", WRITES)
    async def test_the_same_write_does_touch_its_own(self, furnished: Store, name: str) -> None:
        async def body(tx: Transaction) -> int:
            return await tx.run(name, **values(name, OTHER))

        try:
            assert await furnished.write(OTHER, body) > 0
        except Conflict:
            pass  # its own row was in the way

    async def test_requests_are_counted_by_organisation(self, furnished: Store) -> None:
        async def take(organisation: OrganisationId, wanted: int, *, now: int) -> tuple[int, int]:
            body = partial(nodes.take_requests, wanted=wanted, now=now, over_if_before=now - 10)
            return await furnished.write(organisation, body)

        assert [await take(ACME, 2, now=100), await take(OTHER, 5, now=104)] == [(100, 2), (104, 5)]
        assert [await take(ACME, 2, now=109), await take(OTHER, 5, now=110)] == [(100, 4), (104, 10)]
        # A new minute of one is no new one of the other.
        assert [await take(ACME, 2, now=110), await take(OTHER, 5, now=113)] == [(110, 2), (104, 15)]


async def _try(store: Store, organisation: OrganisationId, name: str, bound: dict[str, Value]) -> None:
    async def body(tx: Transaction) -> None:
        await tx.run(name, **bound)

    try:
        await store.write(organisation, body)
    except Conflict:
        pass  # an insert beside its own row, or without what it refers to


def _is_nothing(rows: list[Row]) -> bool:
    """No row, or the one that an aggregate of no rows is."""
    return not any(any(row) for row in rows)


def _holding(rows_of: dict[str, list[Row]], word: str) -> list[tuple[str, Any]]:
    return [
        (name, cell)
        for name, rows in rows_of.items()
        for row in rows
        for cell in row
        if word in (cell.decode("latin-1") if isinstance(cell, bytes) else str(cell))
    ]
