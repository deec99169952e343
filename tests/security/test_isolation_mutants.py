"""Proof that the isolation matrix bites: every query that forgets its organisation turns it red (T1).

Each named query loses its organisation predicate in turn, in the store that is running; the rows that reach the query
are asked again by the twin (see `matrix`), and one of them must fail. A query that no route reaches is declared here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import pytest
import pytest_asyncio

from chatkeep.store import statements
from tests.security import matrix as core
from tests.security.declared import Row, Table, fill
from tests.security.stage import COLUMNS, Matrix, open_matrix
from tests.security.tables import TABLES

pytestmark = pytest.mark.asyncio(loop_scope="module")
PREDICATE = re.compile(r"\b(\w+\.)?organisation_id = :organisation_id\b")
JOIN = re.compile(r"\b(\w+\.organisation_id = \w+\.organisation_id|o\.id = \w+\.organisation_id)\b")
FORGETFUL = {PREDICATE: ":organisation_id IS NOT NULL", JOIN: "1 = 1"}
QUERIES = sorted(name for name, sql in statements.load("sqlite").items() if PREDICATE.search(sql))
DOCTOR = "system_check_"  # of the whole store, for who has its file
JOINING = sorted(
    name
    for name, sql in statements.load("sqlite").items()
    if JOIN.search(sql) and not name.startswith(DOCTOR)
)

# No answer in the matrix depends on them. That they forget is noticed by tests/flows/test_budgets.py, and by
# tests/contract/store/journalling.py, where two organisations have chats and runs of the same ids.
ELSEWHERE = {"budget_get", "system_deltas_held"}

SAMPLE = (
    "chat_access",
    "chat_get",
    "chats_readable",
    "chat_update",
    "chat_soft_delete",
    "document_get",
    "events_after",
    "folder_get",
    "idempotency_get",
    "messages_all",
    "model_get",
    "run_ask_to_stop",
    "run_get",
    "share_get",
)

# Their ids are made by the server in the same request, or unique on the whole server: no other row can be meant.
# `chat_advance` is run for a request only if an answer ends before its last words were written by the tick.
HARMLESS = frozenset({"chat_advance", "run_end", "run_holds", "credential_used"})

# Reached by the command line, by sign-up (which is the first organisation's only), by what moves by itself, or by no
# one yet.
WITHOUT_ROUTE = frozenset(
    {
        "chat_give_title",
        "credential_get",
        "credential_revoke",
        "credentials_all",
        "message_sources",
        "model_get_by_provider",
        "principal_set_disabled",
        "principal_set_role",
        "principals_all",
        "principals_with_email_count",
        "run_release",
        "run_take",
    }
)


class Recorder(dict[str, str]):
    """Statements that remember which of them were asked for."""

    def __init__(self, sql: dict[str, str]) -> None:
        super().__init__(sql)
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.used.add(name)
        return super().__getitem__(name)


Reaching = dict[str, list[tuple[Table, Row]]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Matrix]:
    """The three organisations, on a store whose statements may be changed."""
    async with open_matrix(tmp_path_factory.mktemp("mutants") / "data") as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reaching(matrix: Matrix) -> Reaching:
    """For each query the rows that run it."""
    found: Reaching = {}
    for table in TABLES.values():
        for row in filter(lambda row: row.is_of_an_organisation, table.rows):
            recorder = Recorder(statements.load("sqlite"))
            with running_on(matrix, recorder):
                await touch(matrix, table, row)
            for name in recorder.used:
                found.setdefault(name, []).append((table, row))
    return found


async def test_every_query_is_reached_or_declared_unreached(reaching: Reaching) -> None:
    unreached = {name for name in QUERIES if name not in reaching}
    assert unreached - WITHOUT_ROUTE - HARMLESS == set(), "no row of the matrix reaches these queries"
    assert WITHOUT_ROUTE - unreached == set(), "these have a route now"


async def test_the_sample_is_made_of_queries(reaching: Reaching) -> None:
    assert set(SAMPLE) <= set(QUERIES)


@pytest.mark.parametrize("query", SAMPLE)
async def test_a_query_without_its_organisation_turns_the_matrix_red(
    matrix: Matrix, reaching: Reaching, query: str
) -> None:
    assert await is_killed(matrix, reaching, query), f"{query} may forget its organisation and nobody notices"


@pytest.mark.long
@pytest.mark.parametrize(
    "query", [name for name in QUERIES if name not in WITHOUT_ROUTE | HARMLESS | ELSEWHERE]
)
async def test_every_query_without_its_organisation_turns_the_matrix_red(
    matrix: Matrix, reaching: Reaching, query: str
) -> None:
    assert await is_killed(matrix, reaching, query), f"{query} may forget its organisation and nobody notices"


@pytest.mark.long
@pytest.mark.parametrize("query", [name for name in JOINING if name not in ELSEWHERE])
async def test_every_join_without_its_organisation_turns_the_matrix_red(
    matrix: Matrix, reaching: Reaching, query: str
) -> None:
    assert await is_killed(matrix, reaching, query, JOIN), (
        f"{query} may join across organisations and nobody notices"
    )


async def is_killed(
    matrix: Matrix, reaching: Reaching, query: str, predicate: re.Pattern[str] = PREDICATE
) -> bool:
    """Whether some row notices that the query has lost its predicate."""
    original = statements.load("sqlite")
    mutant = {**original, query: predicate.sub(FORGETFUL[predicate], original[query])}
    assert mutant[query] != original[query]
    with running_on(matrix, mutant):
        for table, row in reaching.get(query, ()):
            try:
                await ask(matrix, table, row)
            except AssertionError:
                return True
        return query.startswith(statements.SYSTEM) and not await are_callers_told_apart(matrix)


async def are_callers_told_apart(matrix: Matrix) -> bool:
    """Whether every kind of credential still stands for whom it stood for, or for nobody."""
    table = TABLES["native"]
    asked = [row for row in table.rows if row.path in ("/me", "/folders")]
    try:
        for row, column in product(asked, COLUMNS):
            await core.check_column(matrix, table, row, column)
    except AssertionError:
        return False
    return True


async def touch(matrix: Matrix, table: Table, row: Row) -> None:
    """Ask a row in the ways that `ask` does, without looking at what comes of it."""
    twin = matrix.twins[0]
    for caller in (twin.owner, twin.person):
        await matrix.restore(twin)
        headers = {"idempotency-key": "touched"} if row.is_idempotent else {}
        await matrix.ask(table, fill(table, row, twin.ids, {}), caller.key, **headers)


async def ask(matrix: Matrix, table: Table, row: Row) -> None:
    """The core checks of one row that can notice a query that forgets."""
    await core.check_twin(matrix, table, row)
    if row.is_idempotent:
        await core.check_idempotency(matrix, table, row)


@contextmanager
def running_on(matrix: Matrix, sql: dict[str, str]) -> Iterator[None]:
    """The store runs these statements instead of its own."""
    store: Any = matrix.world.system.store
    own = store._sql
    store._sql = sql
    store._recalled.clear()  # what other statements found
    try:
        yield
    finally:
        store._sql = own
        store._recalled.clear()
