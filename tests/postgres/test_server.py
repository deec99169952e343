"""A PostgreSQL of our own: it starts whoever we are, keeps what it should, and never outlives its starter."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.postgres import keeper
from tests.postgres.asking import ask, tell
from tests.postgres.server import Postgres

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 10.0
STARTER = """
import sys
from tests.postgres.server import Postgres
server = Postgres.temporary()
print(server.folder, flush=True)
server.start()
print("started", flush=True)
sys.stdin.read()
"""


def soon(is_so: Callable[[], bool]) -> bool:
    """Whether it becomes so before the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(keeper.BREATH_S)
    return True


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that also the user `nobody` may enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="chatkeep-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name) / "postgres"


@pytest.fixture(scope="module")
def fleeting() -> Iterator[Postgres]:
    with Postgres.temporary() as server:
        yield server


def test_it_is_not_run_by_root_and_listens_on_loopback_only(fleeting: Postgres) -> None:
    pid = keeper.server_pid(fleeting.folder / "data")
    assert pid is not None
    assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert ask(fleeting.url(), "SHOW listen_addresses") == "127.0.0.1"
    by_socket = f"postgresql://chatkeep@/chatkeep?host={fleeting.folder}&port={fleeting.port}"
    assert ask(by_socket, "SELECT inet_server_addr() IS NULL") is True


def test_chatkeeps_role_may_make_databases_and_roles_and_no_more(fleeting: Postgres) -> None:
    rights = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
    row = ask(fleeting.url(), f"SELECT ARRAY[{rights}] FROM pg_roles WHERE rolname = current_user")
    assert row == [False, True, True, False, False]


def test_text_is_sorted_by_code_points(fleeting: Postgres) -> None:
    words = (
        "SELECT string_agg(word, '' ORDER BY word) FROM (VALUES ('é'), ('a'), ('Z'), ('b')) AS words (word)"
    )
    assert ask(fleeting.url(), words) == "Zabé"
    assert ask(fleeting.url(), "SHOW server_encoding") == "UTF8"


def test_a_fleeting_one_keeps_its_data_over_a_restart_and_its_url(fleeting: Postgres) -> None:
    tell(fleeting.url(), "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    fleeting.restart()
    assert ask(fleeting.url(), "SELECT n FROM kept") == 7
    assert ask(fleeting.url(), "SHOW fsync") == "off"


def test_a_durable_one_keeps_what_was_committed_when_it_is_killed(folder: Path) -> None:
    with Postgres(folder, is_durable=True) as server:
        assert ask(server.url(), "SELECT array_agg(setting ORDER BY name) FROM pg_settings WHERE name IN "
                   "('fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum')") == ["on"] * 4  # fmt: skip
        tell(server.url(), "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        server.kill()
        assert not server.is_running
        server.start()
        assert ask(server.url(), "SELECT n FROM kept") == 7
        assert "not properly shut down" in (folder / "data" / "server.log").read_text()
    assert not server.is_running


def test_what_hinders_the_start_is_said_and_can_be_mended(fleeting: Postgres) -> None:
    fleeting.stop()
    with (
        socket.create_server(("127.0.0.1", fleeting.port)),
        pytest.raises(RuntimeError, match="Address already in use"),
    ):
        fleeting.start()
    fleeting.start()
    assert ask(fleeting.url(), "SELECT 1") == 1


@contextmanager
def starter() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that starts a temporary server, and that server's folder."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        try:
            yield running, Path(running.stdout.readline().strip())
        finally:
            running.kill()


def test_it_goes_with_its_starter_however_that_one_ends() -> None:
    with starter() as (running, folder):
        assert running.stdout is not None
        assert running.stdout.readline() == "started\n"
        pid = keeper.server_pid(folder / "data")
        assert pid is not None
        running.kill()
        # Nobody else holds our pipe: what reads it does not wait for the server.
        assert running.stdout.read() == ""
    assert soon(lambda: not keeper.is_alive(pid))
    assert soon(lambda: not folder.exists())


def test_it_goes_with_a_starter_that_is_killed_while_it_makes_it() -> None:
    with starter() as (running, folder):
        assert soon((folder / "data" / "PG_VERSION").exists)
        running.kill()
    assert soon(lambda: not folder.exists())


def test_by_hand_it_runs_until_it_is_told_to_end_and_its_folder_can_be_kept(folder: Path) -> None:
    for end, seen in ((signal.SIGTERM, None), (signal.SIGINT, 7)):
        command = [sys.executable, "-m", "tests.postgres", "--folder", str(folder), "--fleeting"]
        with subprocess.Popen(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as running:
            assert running.stdout is not None
            url = running.stdout.readline().strip()
            tell(url, "CREATE TABLE IF NOT EXISTS kept (n int)")
            assert ask(url, "SELECT n FROM kept") == seen
            tell(url, "INSERT INTO kept VALUES (7)")
            os.kill(running.pid, end)
            assert running.wait(DEADLINE_S) == 0
        assert keeper.server_pid(folder / "data") is None
