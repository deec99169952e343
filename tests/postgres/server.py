"""One PostgreSQL server in one folder, for tests, crash tests and benchmarks: start it, stop it, kill it.

It listens on 127.0.0.1 at a free port and on a socket in its folder, and trusts whoever comes. It never outlives the
process that started it: `keeper` sees to that. All is synchronous: about 0.8 s to make one, 0.1 s to start or stop it.
`postgres` is its superuser; chatkeep is given the role `chatkeep`, which may make databases and roles and no more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TextIO

from tests.postgres import keeper
from tests.postgres.binaries import Binaries, find_binaries

ROLE = "chatkeep"
SUPERUSER = "postgres"
START_TIMEOUT_S = 30.0
MEMORY_FOLDER, MEMORY_WANTED_BYTES = Path("/dev/shm"), 2 * 1024**3

INITDB = (
    f"--username={SUPERUSER}",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--no-instructions",
)
FIRST_WORDS = f"""
CREATE ROLE {ROLE} LOGIN CREATEDB CREATEROLE;
CREATE DATABASE {ROLE} OWNER {ROLE};
"""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "300",
    "timezone": "UTC",
    "dynamic_shared_memory_type": "mmap",  # in its folder, so that one that is killed leaves nothing elsewhere
}
# A server that need not survive anything, and does nothing unasked: what is slow or different from run to run is off.
FLEETING = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "jit": "off",
    "io_method": "sync",
}


class Postgres:
    """One server. `with Postgres(folder) as postgres:` has it running; afterwards it is stopped and its keeper gone.

    `is_durable=False` is quick and loses what it likes in a crash; True has PostgreSQL's own defaults, also of fsync.
    `held` is a lock (`hold`) whose holders keep the server alive, whatever becomes of this object (`shared`); by
    default it has one of its own. `doomed` are files and folders that go when the server does for good.
    """

    def __init__(
        self,
        folder: Path,
        *,
        is_durable: bool = False,
        held: TextIO | None = None,
        doomed: tuple[Path, ...] = (),
    ) -> None:
        self.folder = folder
        self.is_durable = is_durable
        self.port = _free_port()
        self._data = folder / "data"
        self._log = folder / "data" / "server.log"
        self._is_shared = held is not None
        self._held = held
        self._doomed = doomed
        self._keeper: int | None = None

    @classmethod
    def temporary(
        cls, *, is_durable: bool = False, held: TextIO | None = None, doomed: tuple[Path, ...] = ()
    ) -> Postgres:
        """One in a new folder that goes with it; in memory where there is room and nothing is durable."""
        folder = Path(
            tempfile.mkdtemp(prefix="chatkeep-postgres-", dir=None if is_durable else _quick_folder())
        )
        return cls(folder, is_durable=is_durable, held=held, doomed=(*doomed, folder))

    def url(self, database: str = ROLE, *, role: str = ROLE) -> str:
        """Of one of its databases. The role `postgres` may everything and has a database of its name."""
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    @property
    def superuser_url(self) -> str:
        """For tests of the tests, and to make databases: chatkeep is never given this one."""
        return self.url(SUPERUSER, role=SUPERUSER)

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return keeper.server_pid(self._data) is not None

    def start(self) -> None:
        """Return when it takes connections. A new folder is filled first. Raises `RuntimeError` with the log's end."""
        if self.is_running:
            return
        if self._keeper is None:
            self._keep()
        if not (self._data / "PG_VERSION").exists():
            self._make()
        known = self._status()
        written = self._log.stat().st_size if self._log.exists() else 0
        settings = SETTINGS | {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        settings |= {} if self.is_durable else FLEETING
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        where = ("-D", str(self._data), "-l", str(self._log))
        self._binaries.run("pg_ctl", "start", "--no-wait", *where, "-o", options)
        deadline = time.monotonic() + START_TIMEOUT_S
        while (status := self._status()) == known or "ready" not in status[-1]:
            said = self._log.read_text(errors="replace")[written:] if self._log.exists() else ""
            if (not status[0] and "FATAL" in said) or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL in {self.folder} did not start:\n{said[-4000:]}")
            time.sleep(keeper.BREATH_S)

    def stop(self) -> None:
        """End it in order; what was committed is there when it starts again, durable or not."""
        keeper.end_server(self._data, signal.SIGINT)

    def restart(self) -> None:
        """Stop and start: same URL, all connections gone."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End all of its processes this instant, as a power cut does, but for what the system has yet to write."""
        pid = keeper.server_pid(self._data)
        if pid is None:
            return
        children = Path(f"/proc/{pid}/task/{pid}/children")
        if not children.exists():  # no Linux: the next best, all end without a word to the disk
            keeper.end_server(self._data, signal.SIGQUIT)
            return
        os.kill(pid, signal.SIGSTOP)  # it must not see its children die: it would start others
        while keeper.state(pid) not in "TZ":
            time.sleep(keeper.BREATH_S)
        family = [pid, *map(int, children.read_text().split())]
        for member in family:
            os.kill(member, signal.SIGKILL)
        while any(map(keeper.is_alive, family)):
            time.sleep(keeper.BREATH_S)
        # It has no parent but the system, which may be slow to forget it: the next one would take it for alive.
        for claim in (self._data / "postmaster.pid", *self.folder.glob(".s.PGSQL.*.lock")):
            claim.unlink()

    def close(self) -> None:
        """Stop it for good: its keeper goes, and a temporary folder. A shared one is left to those who share it."""
        if self._keeper is None or self._held is None or self._is_shared:
            return
        keeper.end_server(self._data, signal.SIGQUIT if self._doomed else signal.SIGINT)
        self._held.close()
        os.waitpid(self._keeper, 0)
        self._held = self._keeper = None

    def __enter__(self) -> Postgres:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self._held = self._held or hold(self.folder / "in-use")
        arguments = ["-I", "-S", keeper.__file__, self._held.name, str(self._data), *map(str, self._doomed)]
        # Not `Popen`: nobody waits for it here. In a session of its own: Ctrl-C is not for it. And it must not keep a
        # pipe open that somebody reads our output from.
        quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
        self._keeper = os.posix_spawn(
            sys.executable, [sys.executable, *arguments], {}, file_actions=quiet, setsid=True
        )

    def _make(self) -> None:
        self._data.mkdir(exist_ok=True)
        self._binaries.own(self._data)
        self._binaries.own(self.folder)
        arguments = INITDB if self.is_durable else (*INITDB, "--no-sync")
        self._binaries.run("initdb", "-D", str(self._data), *arguments)
        self._binaries.run("postgres", "--single", "-D", str(self._data), SUPERUSER, said=FIRST_WORDS)

    @cached_property
    def _binaries(self) -> Binaries:
        return find_binaries(self.folder)

    def _status(self) -> list[str]:
        # Process id, folder, start time, port, socket folder, address, shared memory, "starting" or "ready".
        try:
            return (self._data / "postmaster.pid").read_text().splitlines() or [""]
        except FileNotFoundError:
            return [""]


def hold(lock: Path) -> TextIO:
    """A shared lock on the file, made if needed, until it is closed or this process ends; waits while a keeper ends.

    Open the file in one place of a process only: POSIX lets go of a lock when any of its openings is closed.
    """
    held = lock.open("a+")
    fcntl.lockf(held, fcntl.LOCK_SH)
    return held


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _quick_folder() -> Path | None:
    try:
        return MEMORY_FOLDER if shutil.disk_usage(MEMORY_FOLDER).free >= MEMORY_WANTED_BYTES else None
    except OSError:
        return None
