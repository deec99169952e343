"""No request of one organisation reads, changes, counts or learns anything of another's, in any dialect (T1).

Every route of the running applications must have a row in `tests/security/tables`; every row is asked by every kind of
caller, with foreign, unknown and malformed ids in every place an id can sit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.security import matrix as core
from tests.security.completeness import id_fields, undeclared_fields
from tests.security.declared import Row, Table
from tests.security.rows import Database
from tests.security.stage import COLUMNS, PUBLIC_COLUMNS, Matrix, open_matrix
from tests.security.surface import EDGE, dialects, operations
from tests.security.tables import TABLES
from tests.security.test_socket_isolation import SOCKETS

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROWS = [(table, row) for table in TABLES.values() for row in table.rows]


def name(table: Table, row: Row, number: int) -> str:
    """A test's id that says which row it is."""
    return f"{table.dialect} {row.method} {row.path} {number}".replace("/", "|")


def rows(chosen: list[tuple[Table, Row]]) -> pytest.MarkDecorator:
    """Parametrise by these rows."""
    cases = [
        pytest.param(table, row, id=name(table, row, place)) for place, (table, row) in enumerate(chosen)
    ]
    return pytest.mark.parametrize(("table", "row"), cases)


def columns(row: Row) -> tuple[str, ...]:
    """Who asks a row."""
    if row.is_public:
        return PUBLIC_COLUMNS
    return COLUMNS if not row.is_partial else ("A owner", "A session token", "A narrow key")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix(
    tmp_path_factory: pytest.TempPathFactory, shared_database: Database | None
) -> AsyncIterator[Matrix]:
    """The three organisations; every request starts from the same rows."""
    async with open_matrix(tmp_path_factory.mktemp("matrix") / "data", shared_database) as opened:
        yield opened


async def test_every_dialect_has_a_table(matrix: Matrix) -> None:
    assert set(TABLES) == {EDGE, *dialects(matrix.world)}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
async def test_every_route_has_a_row_and_every_row_a_route(matrix: Matrix, table: Table) -> None:
    # The matrix speaks HTTP; WebSockets have one of their own, `test_socket_isolation`.
    there = {each for each in operations(matrix.world, table.dialect) if each.path not in SOCKETS}
    assert there - table.operations() == set(), "routes without a row"
    assert table.operations() - there == set(), "rows without a route"


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
async def test_every_operation_is_asked_by_everybody_and_served_to_its_owner(
    matrix: Matrix, table: Table
) -> None:
    whole = [row for row in table.rows if not row.is_partial]
    assert {(row.method, row.path) for row in whole} == {(row.method, row.path) for row in table.rows}
    served = [row for row in whole if min(row.ok, *row.statuses.values(), 999) < 400]
    assert [row for row in whole if row.has_control and row not in served] == [], "without a positive control"


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
async def test_every_field_that_can_hold_an_id_is_a_place(matrix: Matrix, table: Table) -> None:
    if table.dialect != EDGE:
        assert id_fields(matrix.world, table.dialect), "the document shows no ids: the search is broken"
        assert undeclared_fields(matrix.world, table) == []


@rows(ROWS)
async def test_everybody_gets_the_declared_status(matrix: Matrix, table: Table, row: Row) -> None:
    async with core.silent_outside(matrix):
        for column in columns(row):
            await core.check_column(matrix, table, row, column)


@rows([(table, row) for table, row in ROWS if row.places()])
async def test_a_foreign_id_is_an_unknown_id(matrix: Matrix, table: Table, row: Row) -> None:
    async with core.silent_outside(matrix):
        await core.check_foreign(matrix, table, row)
    await core.check_column(matrix, table, row, "A owner")


@rows([(table, row) for table, row in ROWS if row.is_of_an_organisation])
async def test_a_twin_with_the_same_ids_is_another_house(matrix: Matrix, table: Table, row: Row) -> None:
    async with core.silent_outside(matrix):
        await core.check_twin(matrix, table, row)


@rows([(table, row) for table, row in ROWS if row.is_idempotent])
async def test_an_idempotency_key_is_the_organisations_own(matrix: Matrix, table: Table, row: Row) -> None:
    await core.check_idempotency(matrix, table, row)
