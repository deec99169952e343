"""Fresh databases are separate, and one that is lent again cannot be told from one that was never used."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.postgres.asking import ask, tell
from tests.postgres.binaries import find_binaries
from tests.postgres.databases import Databases
from tests.postgres.server import Postgres

# What makes emptying hard: a circle of foreign keys, a trigger, identities, rows of the template's own, odd names.
TABLES = """
CREATE TABLE chats (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, head int, text text);
CREATE TABLE messages (id serial PRIMARY KEY, chat int NOT NULL REFERENCES chats, parent int REFERENCES messages);
ALTER TABLE chats ADD FOREIGN KEY (head) REFERENCES messages;
CREATE INDEX by_text ON chats (text);
CREATE TABLE "Odd Name" (n int, doubled int GENERATED ALWAYS AS (n * 2) STORED, blob bytea);
INSERT INTO "Odd Name" (n, blob) VALUES (1, '\\x00ff'), (2, NULL);
CREATE SEQUENCE numbers START 5;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';
CREATE TRIGGER refusing BEFORE DELETE ON messages FOR EACH ROW EXECUTE FUNCTION refuse();
"""
WORK = """
INSERT INTO chats (text) SELECT repeat('x', 500) FROM generate_series(1, 300);
INSERT INTO messages (chat, parent) SELECT id, NULL FROM chats;
INSERT INTO messages (chat, parent) SELECT chat, id FROM messages;
UPDATE chats SET head = id;
UPDATE "Odd Name" SET n = 9;
DELETE FROM "Odd Name" WHERE doubled = 18 AND blob IS NULL;
SELECT nextval('numbers')
"""
# Each leaves more than rows behind.
CHANGES = [
    "CREATE TABLE another (n int)",
    "ALTER TABLE chats ADD COLUMN more text",
    "ALTER TABLE chats ALTER COLUMN text SET DEFAULT 'x'",
    "DROP INDEX by_text",
    "CREATE INDEX by_head ON chats (head)",
    "ALTER TABLE chats ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE messages DISABLE TRIGGER refusing",
    "GRANT SELECT ON chats TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "COMMENT ON TABLE chats IS 'x'",
    "CREATE SCHEMA another",
    "CREATE TYPE mood AS ENUM ('fair')",
    "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "ALTER SEQUENCE numbers INCREMENT 3",
    "TRUNCATE chats CASCADE",
    "SELECT lo_create(0)",
    "DO 'BEGIN EXECUTE format(''ALTER DATABASE %I SET work_mem = 65536'', current_database()); END'",
]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """Not the run's: here its superuser is needed, and what there is on it counted."""
    with Postgres.temporary() as running:
        yield running


@pytest.fixture(scope="module")
def databases(server: Postgres) -> Iterator[Databases]:
    with Databases(server.superuser_url, prepare=lambda url: tell(url, TABLES)) as made:
        yield made


@pytest.fixture
def lent(databases: Databases) -> Iterator[str]:
    url = databases.fresh()
    yield url
    databases.drop(url)


@pytest.fixture(scope="module")
def dump() -> Iterator[Callable[[str], str]]:
    """All that a database holds, in PostgreSQL's own words."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        binaries = find_binaries(Path(folder))
        yield lambda url: binaries.run("pg_dump", "--restrict-key=none", url)


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def test_two_are_separate_and_belong_to_chatkeep(databases: Databases, lent: str) -> None:
    other = databases.fresh()
    assert name_of(other) != name_of(lent)
    tell(lent, "INSERT INTO chats (text) VALUES ('mine')")
    assert ask(other, "SELECT count(*) FROM chats") == 0
    for url in (lent, other):
        assert (
            ask(url, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
            == "chatkeep"
        )
        assert ask(url, "SELECT current_setting('is_superuser')") == "off"
    databases.drop(other)


def test_one_that_is_lent_again_is_as_one_never_used(
    databases: Databases, dump: Callable[[str], str]
) -> None:
    never_used, used = databases.fresh(), databases.fresh()
    sizes = "SELECT array_agg((relname, pg_relation_size(oid)) ORDER BY relname) FROM pg_class WHERE relkind = 'r'"
    for _ in range(3):
        tell(used, WORK)
        assert dump(used) != dump(never_used)
        databases.drop(used)
        again = databases.fresh()
        assert name_of(again) == name_of(used)
        assert dump(again) == dump(never_used)
        assert ask(again, sizes) == ask(never_used, sizes)
    databases.drop(never_used)
    databases.drop(used)


@pytest.mark.parametrize("change", CHANGES)
def test_one_whose_structure_was_touched_is_not_lent_again(databases: Databases, change: str) -> None:
    url = databases.fresh()
    tell(url, change)
    databases.drop(url)
    other = databases.fresh()
    assert name_of(other) != name_of(url)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        ask(url, "SELECT 1")
    databases.drop(other)


async def test_connections_that_were_left_open_are_ended(databases: Databases) -> None:
    url = databases.fresh()
    left = await asyncpg.connect(url)
    await left.execute("BEGIN; INSERT INTO chats (text) VALUES ('never committed')")
    databases.drop(url)
    again = databases.fresh()
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.InterfaceError)):
        await left.fetch("SELECT 1")
    assert name_of(again) == name_of(url)
    databases.drop(again)


def test_one_that_the_test_itself_dropped_is_forgotten(databases: Databases, server: Postgres) -> None:
    url = databases.fresh()
    tell(server.superuser_url, f'DROP DATABASE "{name_of(url)}" WITH (FORCE)')
    databases.drop(url)
    other = databases.fresh()
    assert ask(other, "SELECT count(*) FROM chats") == 0
    databases.drop(other)
    with pytest.raises(KeyError):
        databases.drop(url)


def test_a_restart_of_the_server_is_survived(databases: Databases, server: Postgres) -> None:
    url = databases.fresh()
    tell(url, WORK)
    databases.drop(url)  # now there is a connection to it
    again = databases.fresh()
    server.restart()
    databases.drop(again)
    other = databases.fresh()
    assert ask(other, "SELECT count(*) FROM chats") == 0
    databases.drop(other)


def test_an_admin_who_is_no_superuser_will_do_and_nothing_stays_behind(server: Postgres) -> None:
    tell(
        server.superuser_url,
        "CREATE ROLE modest LOGIN CREATEDB CREATEROLE; GRANT chatkeep TO modest WITH ADMIN OPTION",
    )
    names = "SELECT array_agg(datname ORDER BY datname) FROM pg_database"
    before = ask(server.superuser_url, names)
    prepared: list[str] = []
    with Databases(server.url("postgres", role="modest"), prepare=prepared.append) as databases:
        first = databases.fresh()
        tell(first, "CREATE TABLE mine (n int)")
        databases.drop(first)
        second = databases.fresh()
        assert name_of(second) != name_of(first)
        assert ask(second, "SELECT to_regclass('mine')") is None
    assert len(prepared) == 1
    assert ask(server.superuser_url, names) == before


def test_the_fixtures_give_a_database_that_chatkeep_may_fill(postgres_empty_url: str) -> None:
    tell(postgres_empty_url, "CREATE TABLE mine (n int)")
    assert ask(postgres_empty_url, "SELECT count(*) FROM mine") == 0
