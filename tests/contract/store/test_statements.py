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

EXAMINES = "system_check_"
"""What `chatkeep doctor` runs: it reads whole tables, for that is what it is for."""
SOURCE = Path(chatkeep.__file__).parent
VALUES = "VIRTUAL TABLE"
"""json_each: the values that were bound, as rows; as many as the caller named."""
NO_TABLE = "SCAN CONSTANT ROW"
OF_ORGANISATION, OF_CHAT = "organisation_id=?", "organisation_id=? AND chat_id=?"
WALKS = {
    **dict.fromkeys(("chats", "messages", "documents", "runs"), (OF_ORGANISATION,)),
    "events": (OF_ORGANISATION, OF_CHAT),
}
"""How rows must not be looked for, by the tables that grow without end."""
FEW_ROWS = {
    "system_organisations_all",
    "system_nodes_all",
    "system_nodes_forget",
    "system_streams_forget",
    "system_sockets_forget",
}
"""Walk through a table that is never long."""
WHOLE = {"events_of_message", "folder_empty", "chats_readable_count"}
"""Look at all chats of an organisation."""


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


@pytest.mark.parametrize("name", sorted(name for name in texts() if not name.startswith(EXAMINES)))
def test_a_statement_finds_its_rows_by_an_index(connection: apsw.Connection, name: str) -> None:
    """None walks through a table, except through an index that holds but the few rows it is for."""
    partial = {
        row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE sql LIKE '%) WHERE %'")
    }
    plan = _plan(connection, name)
    walks = [
        step
        for step in plan
        if step.startswith("SCAN")
        and step.split()[-1] not in partial
        and VALUES not in step
        and step.replace("SCAN", "MATERIALIZE") not in plan
        and step != NO_TABLE
    ]
    assert walks == [] or name in FEW_ROWS


@pytest.mark.parametrize("name", sorted(texts()))
def test_a_statement_finds_its_rows_among_those_of_a_great_organisation(
    connection: apsw.Connection, name: str
) -> None:
    """What is only found by its organisation is a walk through everything that is kept of it."""
    named = re.findall(r"(?:FROM|JOIN|UPDATE) (\w+)(?: ([a-z])\b)?", texts()[name])
    called = {alias or table: table for table, alias in named}
    plan = _plan(connection, name)
    walks = [
        step
        for step in plan
        if (found := re.fullmatch(r"SEARCH (\w+) USING PRIMARY KEY \((.*)\)", step))
        and found[2] in WALKS.get(called.get(found[1], ""), ())
    ]
    assert bool(walks) == (name in WHOLE)


def _plan(connection: apsw.Connection, name: str) -> list[str]:
    """The steps of its statement, or of both where there are two."""
    bindings = dict.fromkeys(re.findall(r":(\w+)", texts()[name]))
    parts = [part for part in texts()[name].split(";") if part.strip()]
    return [row[3] for part in parts for row in connection.execute(f"EXPLAIN QUERY PLAN {part}", bindings)]


def test_what_goes_with_a_deleted_row_is_found_by_an_index(connection: apsw.Connection) -> None:
    """Deleting a chat must not walk through all that the organisation has."""
    deleted = {found[1] for text in texts().values() if (found := re.search(r"DELETE FROM (\w+)", text))}
    unfound: list[object] = []
    for table in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        references: dict[int, list[str]] = {}
        listed = 'SELECT id, "table", "from" FROM pragma_foreign_key_list(?) ORDER BY id, seq'
        for key, parent, column in connection.execute(listed, table):
            if parent in deleted:
                references.setdefault(key, []).append(column)
        indexes = _indexes(connection, str(table[0]))
        unfound += [
            (table[0], columns)
            for columns in references.values()
            if not any(set(columns) <= set(each[: len(columns)]) for each in indexes)
        ]
    assert unfound == []


def test_every_statement_is_used() -> None:
    said = {text for path in SOURCE.rglob("*.py") for text in _strings(path)}
    assert [name for name in texts() if name not in said] == []


@pytest.mark.parametrize("name", sorted(texts()))
def test_a_statement_names_the_organisation_or_is_the_systems(name: str) -> None:
    assert (":organisation_id" in texts()[name]) != name.startswith(statements.SYSTEM)


def _indexes(connection: apsw.Connection, table: str) -> list[list[str]]:
    listed = connection.execute(
        "SELECT name FROM pragma_index_list(?) WHERE partial = 0", (table,)
    ).fetchall()
    query = "SELECT name FROM pragma_index_info(?) ORDER BY seqno"
    return [[row[0] for row in connection.execute(query, index)] for index in listed]


def _strings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
