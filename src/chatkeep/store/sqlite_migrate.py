"""Brings a SQLite file up to date, and knows the places where a database file must not live."""

from __future__ import annotations

from pathlib import Path

import apsw

from chatkeep.domain.errors import StoreRefused
from chatkeep.store import migrations

APPLICATION_ID = 0x434B5032  # "CKP2": tells our files from any other SQLite file.
WITHOUT_JOURNAL = 0x434B5031  # "CKP1": files from before the first release, whose chats have no journal
LIBRARY_MIN = (3, 51, 3)
_NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "9p",
    "fuse.sshfs",
    "ncpfs",
}


def migrate(connection: apsw.Connection) -> None:
    """Bring the schema up to date, a transaction a step; raise `StoreRefused` for a newer file.

    Two processes may do so at once: one waits for the other's step and does not do it again.
    """
    steps = migrations.load("sqlite")
    version = _pragma(connection, "user_version")
    if version > len(steps):
        raise StoreRefused(f"The database has schema {version}, newer than this chatkeep's {len(steps)}.")
    for number, sql, _ in steps[version:]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _pragma(connection, "user_version") < number:
                connection.execute(sql)
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={number}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def refuse_foreign(connection: apsw.Connection) -> None:
    """Raise `StoreRefused` for another program's database. Ask before any setting is made: some change the file."""
    with connection:  # one snapshot: another process may be making the file just now
        owner = _pragma(connection, "application_id")
        is_new = _pragma(connection, "user_version") == 0 and _pragma(connection, "schema_version") == 0
    if owner == WITHOUT_JOURNAL:
        raise StoreRefused(
            "The file is of a chatkeep from before its first release, without journals. It stays as it is; start with "
            "a new data folder."
        )
    if owner != APPLICATION_ID and not (owner == 0 and is_new):
        raise StoreRefused("The file is an SQLite database of some other program.")


def refuse_old_library(version: str) -> None:
    """Raise `StoreRefused` for an SQLite that can corrupt a file under concurrent checkpoints (ADR 1)."""
    if tuple(int(part) for part in version.split(".")) < LIBRARY_MIN:
        raise StoreRefused(f"SQLite {version} has the WAL-reset bug, which can corrupt a database.")


def refuse_network_file_system(folder: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Raise `StoreRefused` where SQLite's locks cannot be trusted. Knows Linux; elsewhere it lets everything pass."""
    if not mounts.exists():
        return
    kind, best = "", -1
    where = folder.resolve()
    for line in mounts.read_text().splitlines():
        point, fs = line.split(" ")[1:3]
        at = Path(point.replace("\\040", " "))
        if (where == at or at in where.parents) and len(at.parts) >= best:
            kind, best = fs, len(at.parts)
    if kind in _NETWORK:
        raise StoreRefused(f"{folder} is on a network file system ({kind}); SQLite would lose data there.")


def _pragma(connection: apsw.Connection, name: str) -> int:
    row = connection.execute(f"PRAGMA {name}").fetchone()
    assert row is not None
    return int(row[0])
