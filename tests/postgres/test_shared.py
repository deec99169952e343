"""Two processes of one run share a server; it stays while one of them lives, and goes with the last."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.postgres.asking import ask
from tests.postgres.shared import ENVIRONMENT, shared_server
from tests.postgres.test_server import ROOT, soon

WORKER = """
import sys
from pathlib import Path
from tests.postgres.shared import shared_server
with shared_server(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@contextmanager
def worker(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the shared server of `folder` until its input ends or it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def url_of(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


@pytest.fixture(autouse=True)
def no_given_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


def test_the_workers_of_a_run_share_one_server_until_the_last_has_ended(tmp_path: Path) -> None:
    with ExitStack() as workers:
        first, second = (workers.enter_context(worker(tmp_path)) for _ in range(2))
        url = url_of(first)
        assert url_of(second) == url
        first.kill()
        first.wait()
        with worker(tmp_path) as replacement:
            assert url_of(replacement) == url
            second.kill()
            second.wait()
            assert ask(url, "SELECT 1") == 1
        assert soon(lambda: not (tmp_path / "postgres.url").exists())
        with pytest.raises(ConnectionRefusedError):
            ask(url, "SELECT 1")


def test_who_comes_when_all_have_left_gets_a_server_that_runs(tmp_path: Path) -> None:
    for _ in range(2):  # at once: the last one's keeper is still at work
        with worker(tmp_path) as running:
            assert ask(url_of(running), "SELECT 1") == 1


def test_a_server_that_the_environment_names_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "postgresql://someone@127.0.0.1:1/somewhere")
    with shared_server(tmp_path) as url:
        assert url == "postgresql://someone@127.0.0.1:1/somewhere"
    assert list(tmp_path.iterdir()) == []
