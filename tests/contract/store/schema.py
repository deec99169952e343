"""The SQLite schema as text, kept beside this module so that every change of it is seen in review.

`python -m tests.contract.store.schema` writes it anew from the migrations.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from chatkeep.store.sqlite_migrate import migrate

KEPT = Path(__file__).with_name("schema.sql")


def dump(connection: apsw.Connection) -> str:
    """Everything `CREATE` in the file, by kind and name, comments included, and the version."""
    version = connection.execute("PRAGMA user_version").get
    rows = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC, name")
    return "\n\n".join([f"-- user_version {version}", *(f"{sql};" for (sql,) in rows)]) + "\n"


def fresh() -> str:
    """The schema of a new file."""
    connection = apsw.Connection(":memory:")
    migrate(connection)
    return dump(connection)


if __name__ == "__main__":
    KEPT.write_text(fresh(), encoding="utf-8")
