"""The isolation matrix with the application's own wall taken down: row-level security alone lets nothing through (T2).

Every statement that is bound to an organisation has lost that condition. `test_isolation_mutants` shows the other half:
without row-level security each of these statements turns the matrix red.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chatkeep.store import statements
from tests.security import matrix as core
from tests.security.declared import Row, Table
from tests.security.exchanging import exchanged, forgetful
from tests.security.rows import Database
from tests.security.stage import Matrix, open_matrix
from tests.security.tables import TABLES
from tests.security.test_isolation_matrix import ROWS, columns, rows

pytestmark = pytest.mark.asyncio(loop_scope="module")
TWINS = [(table, row) for table, row in ROWS if row.is_of_an_organisation]
SAMPLE = [(table, row) for table, row in TWINS if table is TABLES["native"]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix(
    tmp_path_factory: pytest.TempPathFactory, shared_postgres: Database
) -> AsyncIterator[Matrix]:
    """The three organisations, on a store whose statements forget for whom they work."""
    async with open_matrix(tmp_path_factory.mktemp("forgetful") / "data", shared_postgres) as opened:
        with exchanged(opened.world.system.store, forgetful("postgres")):
            yield opened


async def test_no_statement_remembers_its_organisation() -> None:
    bound = {name: text for name, text in statements.load("postgres").items() if ":organisation_id" in text}
    lost = forgetful("postgres")
    assert [name for name, text in bound.items() if name not in lost and "INSERT INTO" not in text] == []
    for name, numbered in lost.items():
        number = numbered.names.index("organisation_id") + 1
        assert not re.search(rf"= \${number}\b", numbered.text + numbered.locking), name


@rows(SAMPLE)
async def test_a_twin_is_another_house(matrix: Matrix, table: Table, row: Row) -> None:
    async with core.silent_outside(matrix):
        await core.check_twin(matrix, table, row)


@pytest.mark.long
@rows([each for each in TWINS if each not in SAMPLE])
async def test_a_twin_is_another_house_in_every_dialect(matrix: Matrix, table: Table, row: Row) -> None:
    async with core.silent_outside(matrix):
        await core.check_twin(matrix, table, row)


@pytest.mark.long
@rows(ROWS)
async def test_everybody_gets_the_declared_status(matrix: Matrix, table: Table, row: Row) -> None:
    async with core.silent_outside(matrix):
        for column in columns(row):
            await core.check_column(matrix, table, row, column)


@pytest.mark.long
@rows([(table, row) for table, row in ROWS if row.places()])
async def test_a_foreign_id_is_an_unknown_id(matrix: Matrix, table: Table, row: Row) -> None:
    async with core.silent_outside(matrix):
        await core.check_foreign(matrix, table, row)


@pytest.mark.long
@rows([(table, row) for table, row in ROWS if row.is_idempotent])
async def test_an_idempotency_key_is_the_organisations_own(matrix: Matrix, table: Table, row: Row) -> None:
    await core.check_idempotency(matrix, table, row)
