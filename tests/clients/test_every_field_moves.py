"""Every field of the four pages changes when what it tells about changes: no constant stands in for a feature.

The rows are in `moves_<dialect>`; a field of a page without a row is red, and so is a row that shows no movement.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.clients import moves_cuadra, moves_lexicon, moves_openwebui, moves_synthflow, schemas
from tests.clients.moves import Elsewhere, generate, is_as_told, value_at
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLES = {
    module.TABLE.dialect: module.TABLE
    for module in (moves_cuadra, moves_openwebui, moves_lexicon, moves_synthflow)
}
ROWS = [(dialect, name) for dialect, table in TABLES.items() for name in table.rows]


@pytest.mark.parametrize("dialect", TABLES)
async def test_every_field_has_a_row(dialect: str) -> None:
    table = TABLES[dialect]
    assert sorted([*table.rows, *table.still]) == sorted(schemas.fields(dialect))


@pytest.mark.parametrize(("dialect", "name"), ROWS)
async def test_it_moves(shared_world: World, dialect: str, name: str) -> None:
    row = TABLES[dialect].rows[name]
    values = []
    async for step in row.steps(shared_world):
        if isinstance(step, Elsewhere):
            values.append(value_at(step.value, name))
            continue
        schemas.check(dialect, step)
        values.append(value_at(step, name))
    assert all(before != after for before, after in pairwise(values)), values
    assert is_as_told(values, row.seen), values


async def test_what_cannot_move_yet_is_null(shared_world: World) -> None:
    chat_id = await moves_synthflow.opened(shared_world)
    await generate(shared_world, chat_id)
    answer = await moves_synthflow.read(shared_world, chat_id)
    assert {value_at(answer, name) for name in TABLES["synthflow"].still} == {None, "absent"}
