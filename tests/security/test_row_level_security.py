"""PostgreSQL's row-level security holds where the application forgot: the second net (T2).

The catalogue is walked, the roles are tried by hand, the isolation matrix runs on statements that have lost their
organisation, and many tenants share few connections while requests are cancelled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial

import asyncpg
import pytest

from chatkeep.store import nodes
from chatkeep.store.nodes import Node
from chatkeep.store.postgres import open_postgres
from tests.contract.store.place import ACME, OTHER, found
from tests.contract.store.tenancy import furnish
from tests.postgres.server import ROLE

TENANT, SYSTEM = "chatkeep_tenant", "chatkeep_system"
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
ROWS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
OF_SYSTEM = {"duties", "sign_ins", "agreements"}
TENANT_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organisation_id'
WHERE c.relkind IN ('r', 'p', 'f') AND c.relnamespace = 'public'::regnamespace ORDER BY 1
"""
OWN_ROWS = "({} = NULLIF(current_setting('chatkeep.organisation_id'::text, true), ''::text))"


@pytest.fixture
async def superuser(
    postgres_url: str, superuser_url_of: Callable[[str], str]
) -> AsyncIterator[asyncpg.Connection]:
    """A fresh database seen by one whom nothing binds."""
    connection = await asyncpg.connect(superuser_url_of(postgres_url))
    yield connection
    await connection.close()


@pytest.fixture
async def tables(superuser: asyncpg.Connection) -> list[str]:
    """The names of all tables with rows of organisations."""
    return [*(row["relname"] for row in await superuser.fetch(TENANT_TABLES)), "organisations"]


@pytest.fixture
async def login(
    postgres_url: str, superuser: asyncpg.Connection, tables: list[str]
) -> AsyncIterator[asyncpg.Connection]:
    """The role that chatkeep logs in with, where two organisations have a row in every table."""
    store = open_postgres(postgres_url)
    await found(store, ACME, OTHER)
    await store.write(None, partial(nodes.seen, node=Node("one", "one", "1", 1, 2, 0, 0)))
    for organisation in (ACME, OTHER):
        await store.write(organisation, partial(furnish, word=organisation))
    await store.close()
    for name in tables:
        assert await superuser.fetchval(f"SELECT count(*) FROM {name}") >= 2, (
            f"{name} has no rows to be hidden"
        )
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


# --- the catalogue ---------------------------------------------------------------------------------------------------


async def test_every_table_of_organisations_is_bound_for_reading_and_writing(
    superuser: asyncpg.Connection, tables: list[str]
) -> None:
    bound = "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = $1::text::regclass"
    policies = """
        SELECT polroles::regrole[]::text[] AS roles, polcmd::text AS command, polpermissive AS is_permissive,
               pg_get_expr(polqual, polrelid) AS rows, pg_get_expr(polwithcheck, polrelid) AS new_rows
        FROM pg_policy WHERE polrelid = $1::text::regclass ORDER BY polname DESC
    """
    assert len(tables) >= 16
    for name in tables:
        assert await superuser.fetchval(bound, name), f"{name} is not bound, or not for its owner"
        own = OWN_ROWS.format("id" if name == "organisations" else "organisation_id")
        # Of all commands; without a condition of their own, new rows are held to that for old ones.
        assert [tuple(row) for row in await superuser.fetch(policies, name)] == [
            ([TENANT], "*", True, own, None),
            ([SYSTEM], "*", True, "true", None),
        ], name


async def test_every_table_is_of_organisations_or_not_for_tenants(
    superuser: asyncpg.Connection, tables: list[str]
) -> None:
    rights = f"""
        SELECT c.relname, array_agg(held) FILTER (WHERE has_table_privilege($1, c.oid, held)) AS rights
        FROM pg_class c CROSS JOIN unnest(ARRAY{list(RIGHTS)}) AS held
        WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND c.relnamespace = 'public'::regnamespace GROUP BY 1
    """
    of_tenants = {name: frozenset(held or ()) for name, held in await superuser.fetch(rights, TENANT)}
    # It may lock its organisation, which takes the right to change a column, and no policy lets it change another's.
    expected = {
        **dict.fromkeys(tables, ROWS),
        "organisations": frozenset({"SELECT"}),
        "nodes": frozenset({"SELECT"}),
        "commits": ROWS,  # the marks of connections: a number each, and nothing of anybody
    }
    nothing = frozenset[str]()
    assert of_tenants == {**expected, **dict.fromkeys((*OF_SYSTEM, "chatkeep_schema"), nothing)}
    of_system = {name: frozenset(held or ()) for name, held in await superuser.fetch(rights, SYSTEM)}
    assert of_system == {**dict.fromkeys(of_tenants, ROWS), "chatkeep_schema": frozenset({"SELECT"})}
    columns = await superuser.fetch(
        "SELECT DISTINCT table_name, column_name, privilege_type FROM information_schema.column_privileges "
        "WHERE grantee = $1 AND table_name = 'organisations' AND privilege_type <> 'SELECT'",
        TENANT,
    )
    assert [tuple(row) for row in columns] == [("organisations", "id", "UPDATE")]
    public = "SELECT c.relname FROM pg_class c, aclexplode(relacl) WHERE grantee = 0 AND c.oid >= 16384"
    assert await superuser.fetch(public) == [], "everybody has rights on these"


async def test_no_view_and_no_function_works_with_other_rights_than_its_callers(
    superuser: asyncpg.Connection,
) -> None:
    views = """
        SELECT relname FROM pg_class WHERE oid >= 16384 AND (relkind = 'm' OR relkind = 'v'
            AND NOT coalesce('security_invoker=true' = ANY(reloptions), false))
    """
    assert await superuser.fetch(views) == []
    assert await superuser.fetch("SELECT proname FROM pg_proc WHERE oid >= 16384 AND prosecdef") == []
    # Rules and triggers that are no references run as somebody, too.
    assert await superuser.fetch("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal") == []
    assert await superuser.fetch("SELECT rulename FROM pg_rewrite WHERE oid >= 16384") == []


async def test_the_roles_can_do_nothing_but_what_they_are_given(superuser: asyncpg.Connection) -> None:
    for role in (TENANT, SYSTEM):
        may = await superuser.fetchrow(
            "SELECT rolcanlogin, rolbypassrls, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolconfig "
            "FROM pg_roles WHERE rolname = $1",
            role,
        )
        assert tuple(may) == (False, False, False, False, False, False, None)
        owned = "SELECT relname FROM pg_class WHERE relowner = $1::text::regrole"
        assert await superuser.fetch(owned, role) == []
        above = "SELECT roleid::regrole FROM pg_auth_members WHERE member = $1::text::regrole"
        assert await superuser.fetch(above, role) == [], "it has another role's rights"
        assert not await superuser.fetchval("SELECT has_schema_privilege($1, 'public', 'CREATE')", role)
        inherits = """
            SELECT bool_or(inherit_option) FROM pg_auth_members
            WHERE roleid = $1::text::regrole AND member = $2::text::regrole
        """
        assert not await superuser.fetchval(inherits, role, ROLE), "who logs in has its rights unasked"


async def test_references_between_tables_of_organisations_hold_the_organisation(
    superuser: asyncpg.Connection, tables: list[str]
) -> None:
    references = """
        SELECT conrelid::regclass::text AS from, confrelid::regclass::text AS to,
               (SELECT array_agg(a.attname::text || ' ' || b.attname::text)
                FROM unnest(conkey, confkey) AS pair (one, other)
                JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = one
                JOIN pg_attribute b ON b.attrelid = confrelid AND b.attnum = other) AS pairs
        FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace
    """
    rows = await superuser.fetch(references)
    assert len(rows) >= 15
    for origin, target, pairs in rows:
        if target in tables:
            wanted = "organisation_id id" if target == "organisations" else "organisation_id organisation_id"
            assert wanted in pairs, f"a row of {origin} may name another organisation's of {target}"


# --- the roles, tried -----------------------------------------------------------------------------------------------


async def test_who_logs_in_sees_no_row_without_a_role(login: asyncpg.Connection, tables: list[str]) -> None:
    assert await login.fetchval("SELECT current_user") == ROLE
    for name in tables:
        assert await login.fetchval(f"SELECT count(*) FROM {name}") == 0, name
        assert await login.execute(f"DELETE FROM {name}") == "DELETE 0"


async def test_a_tenant_without_an_organisation_sees_nothing_and_that_is_no_error(
    login: asyncpg.Connection, tables: list[str]
) -> None:
    await login.execute(f"SET ROLE {TENANT}")
    for _ in range(2):  # never set at first, and then empty: what is left of a transaction's setting
        for name in tables:
            assert await login.fetchval(f"SELECT count(*) FROM {name}") == 0, name
        await login.execute(f"BEGIN; SET LOCAL chatkeep.organisation_id = '{ACME}'; COMMIT")
    assert await login.fetchval("SELECT current_setting('chatkeep.organisation_id')") == ""


async def test_a_tenant_sees_and_touches_its_own_rows_alone(
    login: asyncpg.Connection, superuser: asyncpg.Connection, tables: list[str]
) -> None:
    await login.execute(f"SET ROLE {TENANT}; SET chatkeep.organisation_id = '{ACME}'")
    for name in tables:
        key = "id" if name == "organisations" else "organisation_id"
        seen = [row[0] for row in await login.fetch(f"SELECT DISTINCT {key} FROM {name}")]
        assert seen == [ACME], name
        whole = superuser.transaction()
        await whole.start()
        copy = f"CREATE TEMPORARY TABLE foreign_rows ON COMMIT DROP AS SELECT * FROM {name} WHERE {key} = '{OTHER}'"
        await superuser.execute(copy)
        await superuser.execute(f"DELETE FROM {name} WHERE {key} = '{OTHER}'")  # so that no key is in the way
        await superuser.execute(f"GRANT SELECT ON foreign_rows TO {TENANT}; SET LOCAL ROLE {TENANT}")
        await superuser.execute(f"SET LOCAL chatkeep.organisation_id = '{ACME}'")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await superuser.execute(f"INSERT INTO {name} SELECT * FROM foreign_rows")
        await whole.rollback()
    for name in set(tables) - {"organisations"}:
        before = await superuser.fetchval(f"SELECT count(*) FROM {name} WHERE organisation_id = '{OTHER}'")
        assert await login.execute(f"DELETE FROM {name} WHERE organisation_id = '{OTHER}'") == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await login.execute(f"UPDATE {name} SET organisation_id = '{OTHER}'")
        assert before == await superuser.fetchval(
            f"SELECT count(*) FROM {name} WHERE organisation_id = '{OTHER}'"
        )


async def test_a_tenant_may_not_look_at_what_is_the_systems(login: asyncpg.Connection) -> None:
    await login.execute(f"SET ROLE {TENANT}; SET chatkeep.organisation_id = '{ACME}'")
    for name in (*OF_SYSTEM, "chatkeep_schema"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await login.execute(f"SELECT * FROM {name}")
    for change in (
        "DELETE FROM nodes",
        "UPDATE nodes SET seen_at = 0",
        "UPDATE organisations SET suspended_at = 1",
        "DELETE FROM organisations",
        "TRUNCATE chats CASCADE",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await login.execute(change)
