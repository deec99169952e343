"""`chatkeep copy`: everything moves and is proved to be equal, what is not is found, and it takes little memory."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import apsw
import pytest

from chatkeep import wiring
from chatkeep.store.agreements import COPY
from chatkeep.store.copying import NOT_COPIED
from chatkeep.store.postgres_copying import PostgresTarget
from tests.flows.command_line import Done, environment, invoke
from tests.flows.copying import (
    Kept,
    answers,
    asked,
    change,
    change_there,
    copy,
    counted,
    rows_of,
)
from tests.flows.copying import data as data
from tests.flows.copying import filled as filled
from tests.flows.copying import kept as kept
from tests.flows.test_cli_doctor import filling
from tests.upstream import ScriptedUpstream
from tests.world import FakeClock, open_world

MEASURED = (
    "import atexit, sys\n"
    "atexit.register(lambda: print(open('/proc/self/status').read(), file=sys.stderr))\n"
    "from chatkeep.cli import main\n"
    "main()\n"
)

pytestmark = pytest.mark.sqlite  # one side is a file; the other one they make
RSS_MAX_KB = 200 * 1024


def test_everything_moves(kept: Kept, postgres_url: str) -> None:
    before = (kept.data / wiring.DATABASE).read_bytes()
    done = copy(kept.data, postgres_url)
    rows = rows_of(done)
    assert rows == {name: count for name, count in counted(kept.data).items() if name not in NOT_COPIED}
    assert min(rows.values()) > 0, "a table of the schema is not tried: furnish it"
    assert asked(postgres_url, f"SELECT count(*) FROM agreements WHERE name = '{COPY}'") == 0
    assert (kept.data / wiring.DATABASE).read_bytes() == before
    assert str(kept.data / wiring.SECRETS) in done.err
    total = sum(rows.values())
    assert f"copied {total} of {total} rows, " in done.err
    assert f"compared {total} of {total} rows, " in done.err


def test_a_server_on_the_copy_answers_as_before(kept: Kept, postgres_url: str, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    done = copy(kept.data, postgres_url, "--secrets-to", str(secrets))
    assert done.code == 0, done.err
    assert {each.name: each.read_bytes() for each in secrets.iterdir()} == {
        each.name: each.read_bytes() for each in (kept.data / wiring.SECRETS).iterdir()
    }
    assert {each.stat().st_mode & 0o777 for each in secrets.iterdir()} == {0o600}

    async def read() -> dict[tuple[str, str], bytes]:
        settings = {"database_url": postgres_url, "secrets": secrets}
        async with (
            ScriptedUpstream() as upstream,
            open_world(tmp_path / "node", FakeClock(), upstream, **settings) as world,
        ):
            return await answers(world, kept.owner, list(kept.answers))

    found = asyncio.run(read())
    for place, was in kept.answers.items():
        assert found[place] == was, place
    settings = {"database_url": postgres_url, "secrets": str(secrets), "local_model": "false"}
    doctor = invoke("doctor", "--data", str(tmp_path / "node"), **settings)  # type: ignore[arg-type]  # settings are never called stdin
    assert (doctor.code, "wrong" in doctor.out) == (0, False), doctor.out


def test_there_and_back(kept: Kept, postgres_empty_url: str, tmp_path: Path) -> None:
    there = copy(kept.data, postgres_empty_url)
    back = invoke("copy", postgres_empty_url, f"sqlite:{tmp_path / wiring.DATABASE}")
    assert (back.code, back.out) == (0, there.out), back.err
    assert invoke("doctor", "--data", str(tmp_path), local_model="false").code == 0


def test_a_backup_is_a_source_too(kept: Kept, postgres_url: str, tmp_path: Path) -> None:
    assert invoke("backup", str(tmp_path / "monday.db"), "--data", str(kept.data)).code == 0
    (tmp_path / "monday.db.sha256").unlink()
    rows_of(invoke("copy", f"sqlite:{tmp_path / 'monday.db'}", postgres_url))
    assert [each.name for each in tmp_path.iterdir()] == ["monday.db"]


def test_what_a_dead_server_left_in_its_log_is_copied(kept: Kept, postgres_url: str, tmp_path: Path) -> None:
    alive = Path(shutil.copytree(kept.data, tmp_path / "alive"))
    with closing(apsw.Connection(str(alive / wiring.DATABASE))) as running:
        running.execute("PRAGMA wal_autocheckpoint=0")
        running.execute("UPDATE chats SET title = 'The last words' WHERE id = 'talk'")
        shutil.copytree(alive, tmp_path / "data")  # as it is found after a kill
    rows_of(copy(tmp_path / "data", postgres_url))
    assert asked(postgres_url, "SELECT title FROM chats WHERE id = 'talk'") == "The last words"


def test_five_thousand_messages_take_seconds(filled: Path, postgres_url: str) -> None:
    began_s = monotonic()
    assert rows_of(copy(filled, postgres_url))["messages"] > 5_000
    assert monotonic() - began_s < 10


# --- what is not equal is found -----------------------------------------------------------------------


CHANGES = (
    (
        "UPDATE messages SET content = content || ' ' WHERE chat_id = 'talk' AND id = 'a2'",
        "messages",
        "content",
    ),
    ("UPDATE messages SET input_tokens = NULL WHERE input_tokens IS NOT NULL", "messages", "input_tokens"),
    ("UPDATE credentials SET secret_hash = secret_hash || '\\x00'::bytea", "credentials", "secret_hash"),
    ("UPDATE models SET credit_multiplier = 0.1 + 1e-17::float8 * 3", "models", "credit_multiplier"),
    ("DELETE FROM events WHERE chat_id = 'talk' AND seq = 2", "events", "is missing in the target"),
    (
        "INSERT INTO sign_ins VALUES ('name', '\\x00', '[]', 1)",
        "sign_ins",
        "(name, 00) is in the target only",
    ),
)


@pytest.mark.parametrize(("statement", "table", "said"), CHANGES)
def test_one_changed_row_is_found(
    kept: Kept,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    table: str,
    said: str,
) -> None:
    """As if it had been damaged between writing and comparing."""
    snapshot = PostgresTarget.snapshot

    def damaging(self: PostgresTarget) -> Any:
        change_there(postgres_url, statement)
        return snapshot(self)

    monkeypatch.setattr(PostgresTarget, "snapshot", damaging)
    done = copy(kept.data, postgres_url)
    assert done.code == 1
    results = dict(line.split("\t")[::3] for line in done.out.splitlines()[1:])
    assert {name for name, result in results.items() if result != "equal"} == {table}
    (told,) = [line for line in done.err.splitlines() if line.startswith(f"chatkeep: {table}: the row (")]
    assert said in told
    assert done.err.splitlines()[-1].startswith("chatkeep: The copy is not equal to its source.")
    assert asked(postgres_url, f"SELECT count(*) FROM agreements WHERE name = '{COPY}'") == 1


def test_a_source_that_is_written_to_meanwhile_is_found(
    data: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = PostgresTarget.snapshot

    def changing(self: PostgresTarget) -> Any:
        change(data, "UPDATE chats SET title = 'Late' WHERE id = 'talk'")
        return snapshot(self)

    monkeypatch.setattr(PostgresTarget, "snapshot", changing)
    done = copy(data, postgres_url)
    assert (done.code, "was written to while it was copied." in done.err) == (1, True)
    monkeypatch.undo()
    again = copy(data, postgres_url)
    assert (again.code, "chats: the row (" in again.err, "differs in title" in again.err) == (1, True, True)


# --- how much it takes --------------------------------------------------------------------------------


def measured(data: Path, url: str) -> tuple[int, float]:
    """Peak memory of the command in KiB, and its time in seconds."""
    began_s = monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "copy", f"sqlite:{data / wiring.DATABASE}", url],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    took_s = monotonic() - began_s
    rows_of(Done(done.returncode, done.stdout, done.stderr))
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stderr)
    assert peak is not None
    return int(peak[1]), took_s


def test_memory_is_bounded_whatever_the_rows_are(data: Path, postgres_url: str) -> None:
    long = "printf('%.*c', 1000000, 'x')"
    change(
        data,
        f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80)
            INSERT INTO documents SELECT organisation_id, id, 'd' || i, 'f', 't', 1000000, '', {long}, 'x', 1
            FROM chats, n WHERE id = 'talk' AND owner_id IS NOT NULL AND title = 'Talk'""",
    )
    peak_kb, _ = measured(data, postgres_url)
    assert peak_kb < RSS_MAX_KB


@pytest.mark.long
def test_a_hundred_thousand_messages(kept: Kept, postgres_url: str, tmp_path: Path) -> None:
    data = Path(shutil.copytree(kept.data, tmp_path / "data"))
    change(data, *filling(100_000))
    peak_kb, took_s = measured(data, postgres_url)
    assert peak_kb < RSS_MAX_KB
    assert took_s < 120
