"""The named statements as a whole: each is valid on the schema, used, and bound by its name's rule."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

import chatkeep
from chatkeep.store import statements
from chatkeep.store.sqlite import open_sqlite
from tests.contract.store.place import texts

SOURCE = Path(chatkeep.__file__).parent


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    path = tmp_path_factory.mktemp("schema") / "chatkeep.db"
    opened = apsw.Connection(str(path))
    opened.close()
    open_sqlite(path)._writer.close()
    opened = apsw.Connection(str(path))
    yield opened
    opened.close()


@pytest.mark.parametrize("name", sorted(texts()))
def test_a_statement_is_valid_on_the_schema(connection: apsw.Connection, name: str) -> None:
    bindings = dict.fromkeys(re.findall(r":(\w+)", texts()[name]))
    assert connection.execute(f"EXPLAIN {texts()[name]}", bindings).fetchall()


@pytest.mark.parametrize("name", sorted(texts()))
def test_a_statement_finds_its_rows_by_an_index(connection: apsw.Connection, name: str) -> None:
    """No statement of a request walks through a table, whatever the tables hold."""
    bindings = dict.fromkeys(re.findall(r":(\w+)", texts()[name]))
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {texts()[name]}", bindings)]
    scans = [step for step in plan if step.startswith("SCAN") and not step.endswith("CONSTANT ROW")]
    assert scans == [] or name in WALKS


# Work of the system at start or by age, on tables that are small or through a partial index.
WALKS = {"system_organisations_all", "system_runs_interrupt", "system_idempotency_interrupt"}


def test_every_statement_is_used() -> None:
    said = {text for path in SOURCE.rglob("*.py") for text in _strings(path)}
    assert [name for name in texts() if name not in said] == []


@pytest.mark.parametrize("name", sorted(texts()))
def test_a_statement_names_the_organisation_or_is_the_systems(name: str) -> None:
    assert (":organisation_id" in texts()[name]) != name.startswith(statements.SYSTEM)


def _strings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
