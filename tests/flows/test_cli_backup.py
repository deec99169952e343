"""`chatkeep backup`: a whole copy or none, its checksums find a single bit, and it overwrites nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
from pathlib import Path

import apsw
import pytest

from chatkeep import wiring
from tests.flows.command_line import PROGRAM, Done, environment, invoke, run
from tests.flows.test_cli_doctor import damage_index, furnish
from tests.upstream import ScriptedUpstream
from tests.world import FakeClock, World, open_world

pytestmark = pytest.mark.sqlite

ENDINGS = ("", ".sha256", ".secrets", ".part")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a bit of everything, which nobody changes."""
    folder = tmp_path_factory.mktemp("kept") / "data"

    async def make() -> None:
        async with ScriptedUpstream() as upstream, open_world(folder, FakeClock(), upstream) as world:
            await furnish(world)

    asyncio.run(make())
    return folder


def back_up(data: Path, target: Path, *options: str) -> Done:
    return invoke("backup", str(target), "--data", str(data), *options)


def check(target: Path) -> subprocess.CompletedProcess[str]:
    """The manual's own way to check."""
    command = ["sha256sum", "--strict", "-c", f"{target.name}.sha256"]
    return subprocess.run(command, cwd=target.parent, capture_output=True, text=True, check=False)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def texts(database: Path) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return list(connection.execute("SELECT chat_id, seq, content FROM messages ORDER BY 1, 2"))
    finally:
        connection.close()


def test_one_file_that_only_its_owner_reads(kept: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    mask = os.umask(0)
    try:
        done = back_up(kept, target)
    finally:
        os.umask(mask)
    assert done.code == 0, done.err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["backup.db", "backup.db.sha256"]
    assert (mode(target), mode(tmp_path / "backup.db.sha256")) == (0o600, 0o600)
    assert texts(target) == texts(kept / wiring.DATABASE)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "backup.db",
        "backup.db.sha256",
    ]  # no log beside it
    assert check(target).stdout == "backup.db: OK\n"


def test_it_tells_rows_size_and_time(kept: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    done = back_up(kept, target)
    head, *lines = done.out.splitlines()
    assert head == "table\trows"
    told = dict(line.split("\t") for line in lines)
    assert told["messages"] == str(len(texts(target)))
    assert {"organisations", "chats", "events", "credentials"} <= told.keys()
    first, second = done.err.splitlines()
    assert first.startswith(f"{target}: {target.stat().st_size} bytes, copied in ")
    assert second.startswith("The secrets are not in it")


def test_secrets_come_along_when_asked_for(kept: Path, tmp_path: Path) -> None:
    target, beside = tmp_path / "backup.db", tmp_path / "backup.db.secrets"
    done = back_up(kept, target, "--with-secrets")
    assert (done.code, done.err.count("\n")) == (0, 1)
    assert mode(beside) == 0o700
    copied = {each.name: each.read_bytes() for each in beside.iterdir()}
    assert copied == {each.name: each.read_bytes() for each in (kept / wiring.SECRETS).iterdir()}
    assert {mode(each) for each in beside.iterdir()} == {0o600}
    assert check(target).stdout.splitlines() == [
        "backup.db: OK",
        *(f"backup.db.secrets/{name}: OK" for name in ("pepper", "session.key", "signing.pem")),
    ]


@pytest.mark.parametrize("place", ["first", "middle", "last", "secret"])
def test_a_flipped_bit_is_found(kept: Path, tmp_path: Path, place: str) -> None:
    target = tmp_path / "backup.db"
    assert back_up(kept, target, "--with-secrets").code == 0
    damaged = tmp_path / "backup.db.secrets" / "pepper" if place == "secret" else target
    raw = bytearray(damaged.read_bytes())
    at = {"first": 0, "last": len(raw) - 1}.get(place, len(raw) // 2)
    raw[at] ^= 1
    damaged.write_bytes(raw)
    checked = check(target)
    assert checked.returncode != 0
    assert f"{damaged.relative_to(tmp_path)}: FAILED" in checked.stdout


def test_any_name_will_do(kept: Path, tmp_path: Path) -> None:
    target = tmp_path / "two\nlines \\ of a name"
    assert back_up(kept, target).code == 0
    checked = check(target)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_overwritten(kept: Path, tmp_path: Path, ending: str) -> None:
    there = tmp_path / f"backup.db{ending}"
    there.write_text("mine")
    done = back_up(kept, tmp_path / "backup.db", "--with-secrets")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert str(there) in done.err
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [(there.name, "mine")]


def test_a_damaged_database_gives_no_backup(kept: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(kept, tmp_path / "data"))
    damage_index(data / wiring.DATABASE)
    (tmp_path / "to").mkdir()
    done = back_up(data, tmp_path / "to" / "backup.db", "--with-secrets")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "damaged" in done.err
    assert list((tmp_path / "to").iterdir()) == []


def test_what_is_no_database_of_chatkeep_is_refused(tmp_path: Path) -> None:
    done = back_up(tmp_path / "none", tmp_path / "backup.db")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    data = tmp_path / "data"
    data.mkdir()
    (data / wiring.DATABASE).write_bytes(b"no database at all" * 1000)
    assert back_up(data, tmp_path / "backup.db").code == 1
    (data / wiring.DATABASE).unlink()
    connection = apsw.Connection(str(data / wiring.DATABASE))
    connection.execute("CREATE TABLE mine (a)")
    connection.close()
    done = back_up(data, tmp_path / "backup.db")
    assert (done.code, "some other program" in done.err) == (1, True)
    assert [each.name for each in tmp_path.iterdir()] == ["data"]


def test_a_place_that_cannot_be_written_is_one_line(kept: Path, tmp_path: Path) -> None:
    done = back_up(kept, tmp_path / "nowhere" / "backup.db")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.endswith(": no such file or directory.\n")


def test_a_full_disk_leaves_nothing(kept: Path, tmp_path: Path) -> None:
    small = 'ulimit -f 128; exec "$@"'  # blocks of 512 bytes or of 1024: either is less than an empty database has
    command = ["sh", "-c", small, "sh", *PROGRAM, "backup", str(tmp_path / "backup.db"), "--data", str(kept)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("chatkeep: The disk refuses to take more")
    assert list(tmp_path.iterdir()) == []


async def test_what_is_still_in_the_log_is_in_the_backup(world: World, tmp_path: Path) -> None:
    said = [{"role": "user", "content": "Written a moment ago"}]
    await world.native("POST", "/chats", id="fresh", messages=said)
    log = tmp_path / "data" / f"{wiring.DATABASE}-wal"
    assert b"Written a moment ago" in log.read_bytes()
    done = await run("backup", str(tmp_path / "backup.db"), "--data", str(tmp_path / "data"))
    assert done.code == 0, done.err
    assert ("fresh", 1, "Written a moment ago") in texts(tmp_path / "backup.db")
    assert log.stat().st_size > 0


def test_the_log_of_a_dead_server_is_copied_and_stays(kept: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    running = apsw.Connection(str(shutil.copytree(kept, tmp_path / "alive") / wiring.DATABASE))
    running.execute("PRAGMA wal_autocheckpoint=0")
    running.execute("UPDATE messages SET content = 'The last words' WHERE chat_id = 'talk' AND seq = 1")
    shutil.copytree(tmp_path / "alive", data)  # as it is found after a kill
    running.close()
    before = {each.name: each.read_bytes() for each in data.iterdir() if each.suffix in {".db", ".db-wal"}}
    assert back_up(data, tmp_path / "backup.db").code == 0
    assert ("talk", 1, "The last words") in texts(tmp_path / "backup.db")
    assert {name: (data / name).read_bytes() for name in before} == before
