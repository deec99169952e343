"""The process starts itself anew with the allocator's settings, once."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from chatkeep.edge.launcher import ALLOCATOR_SETTINGS, ensure_allocator

PROGRAM = """
import json, os, sys
from chatkeep.edge.launcher import ensure_allocator
print(os.getpid(), flush=False)
ensure_allocator(os.environ, sys.orig_argv)
print(json.dumps({name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}))
print(json.dumps(sys.argv[1:]))
"""

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")


def run(**environ: str) -> list[str]:
    plain = {name: value for name, value in os.environ.items() if name not in ALLOCATOR_SETTINGS}
    command = [sys.executable, "-c", PROGRAM, "serve", "--port", "0"]
    done = subprocess.run(
        command, env={**plain, **environ}, capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.splitlines()


@needs_glibc
def test_process_starts_itself_anew_with_the_settings() -> None:
    first_pid, second_pid, settings, arguments = run()
    assert first_pid == second_pid
    assert json.loads(settings) == dict(ALLOCATOR_SETTINGS)
    assert json.loads(arguments) == ["serve", "--port", "0"]


@needs_glibc
def test_what_the_operator_has_set_stands() -> None:
    *_, settings, _ = run(MALLOC_TOP_PAD_="1", MALLOC_ARENA_MAX="2")
    assert json.loads(settings) == {**ALLOCATOR_SETTINGS, "MALLOC_TOP_PAD_": "1", "MALLOC_ARENA_MAX": "2"}


def test_nothing_happens_with_all_settings_present() -> None:
    assert len(run(**ALLOCATOR_SETTINGS)) == 3


@needs_glibc
def test_server_starts_when_the_system_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    ensure_allocator({}, ["python"])
