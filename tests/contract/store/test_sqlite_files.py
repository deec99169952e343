"""What SQLite files the store opens, makes and refuses."""

from __future__ import annotations

import asyncio
import stat
import threading
from pathlib import Path

import apsw
import pytest

from chatkeep.domain.errors import StoreRefused
from chatkeep.store import migrations
from chatkeep.store.sqlite import connect, open_sqlite
from chatkeep.store.sqlite_migrate import (
    APPLICATION_ID,
    WITHOUT_JOURNAL,
    migrate,
    refuse_network_file_system,
)
from tests.contract.store import schema
from tests.contract.store.place import ACME, count_agents, found
from tests.contract.store.transactions import adding

MOUNTS = """\
/dev/root / ext4 rw 0 0
tmpfs {at}/tmp tmpfs rw 0 0
server:/export {at}/net nfs4 rw 0 0
//server/share {at}/with\\040blank cifs rw 0 0
/dev/sdb {at}/net/disk xfs rw 0 0
files {at}/hidden/net 9p rw 0 0
/dev/sdc {at}/hidden/net ext4 rw 0 0
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chatkeep.db"


def other_program(path: Path, *pragmas: str) -> bytes:
    connection = apsw.Connection(str(path))
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    return path.read_bytes()


def test_the_schema_is_the_one_in_review() -> None:
    """Changed on purpose? `python -m tests.contract.store.schema` writes the file anew."""
    assert schema.fresh() == schema.KEPT.read_text(encoding="utf-8")


async def test_an_opened_file_has_that_schema(path: Path) -> None:
    await open_sqlite(path).close()
    connection = apsw.Connection(str(path))
    assert schema.dump(connection) == schema.KEPT.read_text(encoding="utf-8")
    assert connection.execute("PRAGMA application_id").get == APPLICATION_ID
    assert connection.execute("PRAGMA journal_mode").get == "wal"
    assert connection.execute("PRAGMA page_size").get == 8192
    connection.close()


async def test_only_the_owner_may_read_the_files(path: Path) -> None:
    store = open_sqlite(path)
    await found(store, ACME)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    await store.close()
    assert modes == {"chatkeep.db": 0o600, "chatkeep.db-wal": 0o600, "chatkeep.db-shm": 0o600}


def test_every_connection_is_as_careful_as_promised(path: Path) -> None:
    for read_only in (False, True):
        connection = connect(path, read_only=read_only)
        names = ("synchronous", "foreign_keys", "query_only", "wal_autocheckpoint", "secure_delete")
        told = {name: connection.execute(f"PRAGMA {name}").get for name in names}
        assert told == {
            "synchronous": 2,
            "foreign_keys": 1,
            "query_only": int(read_only),
            "wal_autocheckpoint": 0,
            "secure_delete": 1,
        }
        connection.close()


def test_a_step_that_fails_leaves_the_version_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect(path)
    migrate(connection)
    before = schema.dump(connection)
    known = migrations.load("sqlite")
    number = len(known) + 1
    steps = [*known, (number, "CREATE TABLE half (x) STRICT; CREATE TABLE agents (x);", False)]
    monkeypatch.setattr(migrations, "load", lambda _: steps)
    with pytest.raises(apsw.SQLError):
        migrate(connection)
    assert not connection.in_transaction
    assert schema.dump(connection) == before
    steps[-1] = (number, "CREATE TABLE whole (x INTEGER) STRICT", False)
    migrate(connection)
    assert connection.execute("PRAGMA user_version").get == number
    connection.close()


async def test_two_may_make_the_file_at_once(path: Path) -> None:
    barrier = threading.Barrier(4)
    opened = []

    def make() -> None:
        barrier.wait()
        opened.append(open_sqlite(path))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in opened:
        await store.close()
    assert len(opened) == 4


async def test_a_file_that_another_is_just_making_is_waited_for(path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")  # SQLite would not wait for it here, but say at once that it is busy
    ending = threading.Timer(0.3, other.execute, ["ROLLBACK"])
    ending.start()
    await (await asyncio.to_thread(open_sqlite, path)).close()
    ending.join()


def test_a_newer_schema_is_refused_and_stays(path: Path) -> None:
    asyncio.run(open_sqlite(path).close())
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA user_version={len(migrations.load('sqlite')) + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match="newer"):
        open_sqlite(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "pragmas", [(), ("user_version=1",), ("application_id=7",), ("application_id=7", "user_version=1")]
)
def test_another_programs_database_is_refused_and_stays(path: Path, pragmas: tuple[str, ...]) -> None:
    before = other_program(path, *pragmas)
    with pytest.raises(StoreRefused, match="other program"):
        open_sqlite(path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["chatkeep.db"]


def test_a_file_from_before_the_journal_is_refused_and_stays(path: Path) -> None:
    old = apsw.Connection(str(path))
    old.execute(
        f"CREATE TABLE chats (id TEXT); PRAGMA application_id={WITHOUT_JOURNAL}; PRAGMA user_version=1"
    )
    old.close()
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match="before its first release"):
        open_sqlite(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_stays(path: Path) -> None:
    path.write_text("Dear diary, " * 1000)
    before = path.read_bytes()
    with pytest.raises(StoreRefused):
        open_sqlite(path)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused):
        open_sqlite(tmp_path / "nowhere" / "chatkeep.db")


@pytest.mark.parametrize(
    ("folder", "is_refused"),
    [
        ("", False),
        ("tmp", False),
        ("net", True),
        ("net/deep/er", True),
        ("net/disk", False),
        ("with blank", True),
        ("networked", False),
        ("hidden/net", False),
        ("link", True),
    ],
)
def test_a_network_file_system_is_refused(tmp_path: Path, folder: str, is_refused: bool) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS.format(at=tmp_path))
    (tmp_path / "net").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "net")
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    if is_refused:
        with pytest.raises(StoreRefused, match="network file system"):
            refuse_network_file_system(tmp_path / folder, mounts)
    else:
        refuse_network_file_system(tmp_path / folder, mounts)


def test_without_a_list_of_mounts_everything_passes(tmp_path: Path) -> None:
    refuse_network_file_system(tmp_path, tmp_path / "nowhere")


async def test_a_file_left_behind_by_a_crash_opens_with_all_it_acknowledged(
    path: Path, tmp_path: Path
) -> None:
    store = open_sqlite(path)
    await found(store, ACME)
    await store.write(ACME, adding("a"))
    copies = tmp_path / "copies"
    copies.mkdir()
    for each in (path, path.with_name("chatkeep.db-wal")):
        (copies / each.name).write_bytes(each.read_bytes())
    await store.close()
    again = open_sqlite(copies / path.name)
    assert await again.read(ACME, count_agents) == 1
    await again.close()
