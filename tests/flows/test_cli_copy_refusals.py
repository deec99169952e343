"""What `chatkeep copy` refuses: one line that says why, and nothing is written."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from chatkeep import wiring
from chatkeep.store import postgres_copying
from tests.flows.command_line import Done, invoke
from tests.flows.copying import (
    Kept,
    asked,
    change,
    change_there,
    copy,
    present,
    refused,
)
from tests.flows.copying import data as data
from tests.flows.copying import filled as filled
from tests.flows.copying import kept as kept

pytestmark = pytest.mark.sqlite  # one side is a file; the other one they make


def test_a_target_with_rows_of_its_own_is_refused(kept: Kept, postgres_url: str, tmp_path: Path) -> None:
    settings = {"database_url": postgres_url, "local_model": "false"}
    made = invoke("orgs", "create", "Mine", "--data", str(tmp_path), **settings)  # type: ignore[arg-type]  # as above
    assert made.code == 0, made.err
    refused(copy(kept.data, postgres_url), "has rows already (", "organisations")
    assert present(postgres_url) == 0
    assert asked(postgres_url, "SELECT name FROM organisations") == "Mine"


def test_a_copy_that_has_ended_is_not_taken_up_again(kept: Kept, postgres_url: str) -> None:
    assert copy(kept.data, postgres_url).code == 0
    refused(copy(kept.data, postgres_url), "has rows already (")


def test_two_at_once_into_one_are_refused(
    kept: Kept, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_copying, "PATIENCE_MS", 50)

    async def both() -> Done:
        first = await postgres_copying.open_postgres_target(postgres_url)
        try:
            return await asyncio.to_thread(copy, kept.data, postgres_url)
        finally:
            await first.close()

    refused(asyncio.run(both()), "Another `chatkeep copy` into this database is at work.")


def test_a_served_source_is_refused(data: Path, postgres_url: str) -> None:
    descriptor = wiring.claim_folder(data)
    try:
        refused(copy(data, postgres_url), f"Another chatkeep serves {data} already.")
    finally:
        os.close(descriptor)
    assert copy(data, postgres_url).code == 0


def test_a_served_database_is_refused_as_source(kept: Kept, postgres_url: str, tmp_path: Path) -> None:
    assert copy(kept.data, postgres_url).code == 0
    beat = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    change_there(postgres_url, f"INSERT INTO nodes VALUES ('n', 'node-7', '1', 1, ({beat}))")
    done = invoke("copy", postgres_url, f"sqlite:{tmp_path / 'back.db'}")
    refused(done, "is served, or was a minute ago, by node-7.")
    assert not (tmp_path / "back.db").exists()


@pytest.mark.parametrize("version", [1, 99])
def test_a_source_of_another_schema_is_refused(data: Path, postgres_url: str, version: int) -> None:
    with closing(apsw.Connection(str(data / wiring.DATABASE))) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    refused(copy(data, postgres_url), f"has schema {version}")
    assert present(postgres_url) == 0


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE TABLE mine (id TEXT PRIMARY KEY) STRICT", "The table mine is in sqlite:"),
        ("ALTER TABLE chats ADD COLUMN mine TEXT", "The column chats.mine is in sqlite:"),
        ("ALTER TABLE chats DROP COLUMN source", "The column chats.source is in postgresql:"),
        (
            "DROP TABLE budgets; CREATE TABLE budgets (organisation_id TEXT, started_at INTEGER, tokens TEXT)",
            "The column budgets.tokens is text in ",
        ),
        (
            "DROP TABLE budgets; CREATE TABLE budgets (organisation_id TEXT, started_at INTEGER, tokens INTEGER)",
            "The table budgets has not the same primary key on both sides.",
        ),
    ],
)
def test_schemas_that_differ_are_refused(data: Path, postgres_url: str, statement: str, said: str) -> None:
    with closing(apsw.Connection(str(data / wiring.DATABASE))) as connection:
        connection.execute(statement)
    refused(copy(data, postgres_url), said)
    assert asked(postgres_url, "SELECT count(*) FROM agreements") == 0


def test_what_is_no_source_and_no_target_is_refused(
    kept: Kept, postgres_url: str, postgres_empty_url: str, tmp_path: Path
) -> None:
    refused(invoke("copy", kept.url, "mysql://host/name"), "A database is sqlite:FILE or", code=2)
    refused(invoke("copy", kept.url, f"sqlite:{tmp_path / 'b.db'}"), "One of the two", code=2)
    refused(invoke("copy", f"sqlite:{tmp_path / 'none.db'}", postgres_url), "There is no file")
    (tmp_path / "bad.db").write_bytes(b"no database at all" * 1000)
    refused(invoke("copy", f"sqlite:{tmp_path / 'bad.db'}", postgres_url), "cannot be used")
    refused(copy(kept.data, postgres_url, "--secrets-to", str(tmp_path)), f"{tmp_path} is there already")
    nobody = "postgresql://me:hush-hush@127.0.0.1:1/none"
    file = f"sqlite:{tmp_path / 'new.db'}"
    for done in (
        copy(kept.data, nobody),
        invoke("copy", nobody, file),
        copy(kept.data, f"{nobody}?sslmode=x"),
    ):
        refused(done, "The database cannot be opened")
        assert "hush" not in done.err
    for url in ("postgresql://me:hush-hush@host:port/none", "postgresql://me:hush-hush@[::1/none"):
        for done in (copy(kept.data, url), invoke("copy", url, file)):
            refused(done, "The database's URL cannot be read.")
    refused(invoke("copy", postgres_empty_url, file), "is no database of chatkeep.")
    assert not (tmp_path / "new.db").exists()
    with closing(apsw.Connection(str(tmp_path / "theirs.db"))) as connection:
        connection.execute("CREATE TABLE mine (a)")
    refused(invoke("copy", f"sqlite:{tmp_path / 'theirs.db'}", postgres_url), "some other program")


def test_what_a_target_does_not_take_is_named(data: Path, postgres_url: str) -> None:
    change(data, "UPDATE messages SET content = 'a' || char(0) || 'b' WHERE id = 'q1' AND chat_id = 'talk'")
    refused(copy(data, postgres_url), "The rows (", " of messages were not taken: ", "0x00")
