"""PostgreSQL's schema: the same as SQLite's, and brought up to date by whoever comes first."""

from __future__ import annotations

import multiprocessing
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import apsw
import asyncpg
import pytest

from chatkeep.domain.errors import StoreRefused
from chatkeep.store import migrations
from chatkeep.store.migrations import Step
from chatkeep.store.postgres_migrate import migrate
from chatkeep.store.sqlite_migrate import migrate as migrate_sqlite
from tests.contract.store.catalogue import of_postgres, of_sqlite
from tests.postgres.asking import ask, tell

STEPS = """
SELECT string_agg(number || CASE WHEN is_post THEN ' post' ELSE '' END, ', ' ORDER BY number) FROM chatkeep_schema
"""
NAMELESS = "nameless_role"


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A fresh database with chatkeep's tables."""
    opened = await asyncpg.connect(postgres_url)
    yield opened
    await opened.close()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has chatkeep know further steps."""

    def know(*more: Step) -> None:
        known = (*migrations.load("postgres"), *more)
        monkeypatch.setattr(migrations, "load", lambda engine: known)

    return know


def further(sql: str, *, by: int = 1, is_post: bool = False) -> Step:
    """A step after those that there are."""
    return Step(len(migrations.load("postgres")) + by, sql, is_post)


def all_steps() -> str:
    return ", ".join(str(step.number) for step in migrations.load("postgres"))


# --- drift -----------------------------------------------------------------------------------------------------------


async def test_both_engines_have_the_same_tables(connection: asyncpg.Connection) -> None:
    file = apsw.Connection(":memory:")
    migrate_sqlite(file)
    sqlite, postgres = of_sqlite(file), await of_postgres(connection)
    assert len(sqlite) >= 20
    assert sqlite["messages"].references, "the shapes say nothing"
    assert sqlite["folders"].unique, "the shapes say nothing"
    assert postgres.keys() == sqlite.keys()
    for name, shape in sqlite.items():
        for part in ("columns", "primary_key", "unique", "references", "indexes"):
            assert getattr(postgres[name], part) == getattr(shape, part), f"{name}: {part}"
        assert list(postgres[name].columns) == list(shape.columns), f"{name}: in another order"


async def test_both_engines_have_the_same_conditions_on_values(connection: asyncpg.Connection) -> None:
    file = apsw.Connection(":memory:")
    migrate_sqlite(file)
    for name, values in sorted(_allowed(file).items()):
        table, column = name.split(".")
        said = await connection.fetchval(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype = 'c' AND conrelid = $1::text::regclass AND pg_get_constraintdef(oid) LIKE $2",
            table,
            f"%({column} = ANY%",
        )
        assert said is not None, f"{name} takes anything on PostgreSQL"
        assert {
            text.strip("' ") for text in _between(said, "ARRAY[", "]").replace("::text", "").split(",")
        } == values
    count = "SELECT count(*) FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
    assert await connection.fetchval(count) == len(_allowed(file))


def _allowed(file: Any) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for table, sql in file.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall():
        for line in (sql or "").splitlines():
            if "CHECK (" in line:
                values = _between(line, " IN (", ")")
                found[f"{table}.{line.split()[0]}"] = {text.strip("' ") for text in values.split(",")}
    assert len(found) >= 12
    return found


def _between(text: str, left: str, right: str) -> str:
    return text.partition(left)[2].partition(right)[0]


async def test_texts_compare_by_their_bytes(connection: asyncpg.Connection) -> None:
    other = await connection.fetch(
        "SELECT attrelid::regclass, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attnum > 0 "
        "AND atttypid = 'text'::regtype AND attcollation <> '\"C\"'::regcollation"
    )
    assert other == []


# --- migrations ------------------------------------------------------------------------------------------------------


def test_an_empty_database_gets_all_steps_and_keeps_them(postgres_empty_url: str) -> None:
    assert migrate(postgres_empty_url).post_steps_left == ()
    assert ask(postgres_empty_url, STEPS) == all_steps()
    migrate(postgres_empty_url)
    assert ask(postgres_empty_url, STEPS) == all_steps()


def test_processes_that_start_at_once_take_each_step_once(postgres_empty_url: str) -> None:
    spawning = multiprocessing.get_context("spawn")
    processes = [spawning.Process(target=migrate, args=(postgres_empty_url,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert ask(postgres_empty_url, STEPS) == all_steps()


def test_a_step_that_fails_leaves_nothing_of_itself(postgres_url: str, steps: Callable[..., None]) -> None:
    steps(further("CREATE TABLE half (id TEXT); SELECT nonsense"))
    with pytest.raises(StoreRefused, match="nonsense"):
        migrate(postgres_url)
    assert ask(postgres_url, "SELECT to_regclass('half')") is None
    assert ask(postgres_url, STEPS) == all_steps().removesuffix(f", {len(migrations.load('postgres'))}")


def test_post_steps_wait_until_they_are_asked_for(postgres_url: str, steps: Callable[..., None]) -> None:
    before = all_steps()
    post, pre = further("CREATE TABLE posted ()", is_post=True), further("CREATE TABLE pre ()", by=2)
    steps(post, pre)
    assert migrate(postgres_url).post_steps_left == (post.number,)
    assert ask(postgres_url, STEPS) == f"{before}, {pre.number}"
    assert migrate(postgres_url, with_post=True).post_steps_left == ()
    assert ask(postgres_url, STEPS) == f"{before}, {post.number} post, {pre.number}"


def test_a_newer_schema_is_served_until_it_has_had_a_post_step(postgres_url: str) -> None:
    newer = len(migrations.load("postgres")) + 1
    tell(postgres_url, f"INSERT INTO chatkeep_schema (number, is_post) VALUES ({newer}, false)")
    assert migrate(postgres_url).post_steps_left == ()
    tell(postgres_url, f"INSERT INTO chatkeep_schema (number, is_post) VALUES ({newer + 1}, true)")
    with pytest.raises(StoreRefused, match=rf"schema {newer + 1}, newer than this chatkeep's {newer - 1}"):
        migrate(postgres_url)


# --- roles -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def nameless_url(postgres_empty_url: str, superuser_url_of: Callable[[str], str]) -> Iterator[str]:
    """An empty database for a role that may not make roles and is a member of none."""
    superuser = superuser_url_of(postgres_empty_url)
    tell(
        superuser,
        f"CREATE ROLE {NAMELESS} LOGIN PASSWORD '{NAMELESS}'; GRANT ALL ON SCHEMA public TO {NAMELESS}",
    )
    yield _as(postgres_empty_url, NAMELESS)
    tell(superuser, f"DROP OWNED BY {NAMELESS}; DROP ROLE {NAMELESS}")


def _as(url: str, role: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{role}:{role}@{rest.rpartition('@')[2]}"


def test_a_role_that_may_not_make_roles_is_told_what_to_have_run(
    nameless_url: str, postgres_empty_url: str, superuser_url_of: Callable[[str], str]
) -> None:
    with pytest.raises(StoreRefused) as refused:
        migrate(nameless_url)
    said = str(refused.value)
    for statement in ("CREATE ROLE chatkeep_tenant NOLOGIN;", "CREATE ROLE chatkeep_system NOLOGIN;"):
        assert statement in said
    assert ask(nameless_url, "SELECT to_regclass('chatkeep_schema')") is None
    # What it was told to have run is enough; the roles are there, as other databases of the server use them.
    grant = _between(said, "NOLOGIN; GRANT", " the role of the URL")
    tell(superuser_url_of(postgres_empty_url), f"GRANT {grant} {NAMELESS}")
    migrate(nameless_url)
    assert ask(nameless_url, STEPS) == all_steps()
