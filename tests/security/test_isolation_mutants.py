"""Proof that the isolation matrix bites: every query that forgets its organisation turns it red (T1).

Each named query loses its organisation predicate in turn, in the store that is running; the rows that reach the query
are asked again by the twin (see `matrix`), and one of them must fail. A query that no route reaches is declared here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from itertools import product

import pytest
import pytest_asyncio

from chatkeep.store import statements
from chatkeep.store.statements import Engine
from tests.security import matrix as core
from tests.security.declared import Row, Table, fill
from tests.security.exchanging import JOIN, PREDICATE, exchanged, without
from tests.security.rows import Database
from tests.security.stage import COLUMNS, Matrix, open_matrix
from tests.security.tables import TABLES

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOCTOR = "system_check_"  # of the whole store, for who has its file
ENGINES: tuple[Engine, ...] = ("sqlite", "postgres")
BY_NAME = {name: text for engine in ENGINES for name, text in statements.load(engine).items()}
QUERIES = sorted(name for name, sql in BY_NAME.items() if PREDICATE.search(sql))
JOINING = sorted(name for name, sql in BY_NAME.items() if JOIN.search(sql) and not name.startswith(DOCTOR))

# No answer in the matrix depends on them. That they forget is noticed by tests/flows/test_budgets.py, and by
# tests/contract/store/journalling.py, where two organisations have chats and runs of the same ids.
ELSEWHERE = frozenset({"budget_get", "system_deltas_append"})

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

# Reached by the command line, by sign-up (which is the first organisation's only), by what moves by itself, by no one
# yet, or by WebSockets: that `sockets_none` forgets is noticed by test_socket_isolation.py.
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
        "sockets_none",
    }
)


# Asked only where several nodes share a store.
ALONE: Mapping[Engine, frozenset[str]] = {"sqlite": frozenset({"streams_count"}), "postgres": frozenset()}

Reaching = dict[str, list[tuple[Table, Row]]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix(
    tmp_path_factory: pytest.TempPathFactory, shared_database: Database | None
) -> AsyncIterator[Matrix]:
    """The three organisations. It is the application's own wall that is judged: row-level security is off."""
    async with open_matrix(tmp_path_factory.mktemp("mutants") / "data", shared_database) as opened:
        if shared_database is not None:
            rows = opened.ledger.rows
            await rows.change(
                *((f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY", ()) for name in rows.columns)
            )
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reaching(matrix: Matrix) -> Reaching:
    """For each query the rows that run it."""
    found: Reaching = {}
    for table in TABLES.values():
        for row in filter(lambda row: row.is_of_an_organisation, table.rows):
            with exchanged(matrix.world.system.store, {}) as own:
                await touch(matrix, table, row)
                used = own.used.copy()
            for name in used:
                found.setdefault(name, []).append((table, row))
    return found


async def test_every_query_is_reached_or_declared_unreached(reaching: Reaching, engine: Engine) -> None:
    unreached = {name for name in QUERIES if name not in reaching}
    assert unreached - WITHOUT_ROUTE - HARMLESS - ALONE[engine] == set(), (
        "no row of the matrix reaches these queries"
    )
    assert (WITHOUT_ROUTE | ALONE[engine]) - unreached == set(), "these have a route now"


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
    if query in ALONE[engine_of(matrix)]:
        pytest.skip("never asked on this engine")
    assert await is_killed(matrix, reaching, query), f"{query} may forget its organisation and nobody notices"


@pytest.mark.long
@pytest.mark.parametrize("query", [name for name in JOINING if name not in ELSEWHERE | HARMLESS])
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
    store, engine = matrix.world.system.store, engine_of(matrix)
    mutant = without(engine, query, predicate)
    assert mutant != without(engine, query)
    with exchanged(store, {query: mutant}):
        for table, row in reaching.get(query, ()):
            try:
                await ask(matrix, table, row)
            except AssertionError:
                return True
        return query.startswith(statements.SYSTEM) and not await are_callers_told_apart(matrix)


def engine_of(matrix: Matrix) -> Engine:
    """What the matrix runs on."""
    return "postgres" if matrix.world.system.store.is_shared else "sqlite"


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
        for _ in range(2 if row.is_idempotent else 1):
            await matrix.ask(table, fill(table, row, twin.ids, {}), caller.key, **headers)


async def ask(matrix: Matrix, table: Table, row: Row) -> None:
    """The core checks of one row that can notice a query that forgets."""
    await core.check_twin(matrix, table, row)
    if row.is_idempotent:
        await core.check_idempotency(matrix, table, row)
