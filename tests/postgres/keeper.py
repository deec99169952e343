"""Ends a PostgreSQL server when nobody holds its lock any more: run by path, as a process of its own, by `server`.

Who uses the server holds a shared lock on a file; the kernel lets go of it however that process ends, `kill -9`
included. This process waits for the same lock alone, then ends the server, and removes what it is told to.
Python's own library only, and no package of the project: it starts in 20 ms and has nothing that can fail.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import time
from pathlib import Path

PATIENCE_S = 5.0
BREATH_S = 0.005


def server_pid(data: Path) -> int | None:
    """The process that serves this data folder; None if none is known, or the number is another program's now."""
    try:
        pid = int((data / "postmaster.pid").read_text().partition("\n")[0])
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if pid <= 0 or not is_alive(pid):
        return None
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return None if Path("/proc/self").exists() else pid  # no /proc, as on macOS: believe the file
    return pid if os.fsencode(data) in command else None


def is_alive(pid: int) -> bool:
    """Whether this process runs; one that has ended and waits for its parent does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return state(pid) not in ("Z", "")


def state(pid: int) -> str:
    """The system's letter for what this process does, Z for having ended; "" if it is gone, "?" without /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "" if Path("/proc/self").exists() else "?"


def end_server(data: Path, how: signal.Signals) -> None:
    """Send `how` (SIGINT: in order, SIGQUIT: at once) and return when the server is gone; SIGKILL if it stays."""
    pid = server_pid(data)
    if pid is None:
        return
    os.kill(pid, how)
    deadline = time.monotonic() + PATIENCE_S
    while server_pid(data) == pid:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(BREATH_S)


def main(lock: str, data: str, *doomed: str) -> None:
    """Wait for the lock, end the server of `data`, remove the files and folders in `doomed`."""
    with Path(lock).open("r+") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        end_server(Path(data), signal.SIGQUIT if doomed else signal.SIGINT)
        deadline = time.monotonic() + PATIENCE_S
        # More than once if its starter was killed while it made the server: what fills the folder is still at work.
        while (left := [path for path in map(Path, doomed) if path.exists()]) and time.monotonic() < deadline:
            for path in left:
                remove(path)
            time.sleep(BREATH_S)
            end_server(Path(data), signal.SIGQUIT)


def remove(path: Path) -> None:
    """Remove a file, or a folder as far as it can be removed."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
