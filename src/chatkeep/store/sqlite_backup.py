"""A whole copy of a SQLite database, taken while a server works on it, and checked before it gets its name.

For the command line alone. One snapshot in one step: a copy in steps begins anew whenever somebody writes, and never
ends beside a busy server. Writers are not held up by it. The file that bears the backup's name is whole and was
examined; until then it is called `….part`, and nothing stays of a backup that failed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from chatkeep.domain.errors import StoreRefused
from chatkeep.store.sqlite import BUSY_TIMEOUT_MS
from chatkeep.store.sqlite_errors import translated
from chatkeep.store.sqlite_migrate import refuse_foreign, refuse_old_library

WITHOUT_LOCKS = "unix-none"
"""How the copy is written: nobody else knows it, and the folder may be on a network file system."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What was made: the rows of each table, the file's size, and how long copying and examining took."""

    rows: Mapping[str, int]
    size_bytes: int
    copied_s: float
    examined_s: float


def back_up(source: Path, target: Path, *, secrets: Path | None = None) -> Backup:
    """Copy the database `source` to the new file `target`, with `target.sha256` and, from `secrets`, `target.secrets/`.

    What is committed when it begins is in it. Raises `StoreRefused` when one of those files is there already, when
    `source` is no database of chatkeep, and when the copy is damaged; `StoreFull`; `OSError`.
    """
    refuse_old_library(apsw.sqlite_lib_version())
    manifest, beside, part = (_named(target, ending) for ending in (".sha256", ".secrets", ".part"))
    for each in (target, manifest, beside):
        if each.exists():
            raise StoreRefused(f"{each} is there already, and a backup overwrites nothing.")
    _claim(part)
    began = time.monotonic()
    with _all_or_nothing(part, manifest, beside, target):
        _copy(source, part)
        copied = time.monotonic()
        rows = _examine(part)
        kept = [] if secrets is None else copy_secrets(secrets, beside)
        _sync(part)
        size_bytes = part.stat().st_size
        sums = [_line(part, target.name), *(_line(each, f"{beside.name}/{each.name}") for each in kept)]
        _write(manifest, "".join(sums).encode())
        part.rename(target)
        _sync(target.parent)
    return Backup(rows, size_bytes, copied - began, time.monotonic() - copied)


def _claim(part: Path) -> None:
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise StoreRefused(
            f"{part} is there: another backup is being written, or one was killed and left it to be deleted."
        ) from None


def _copy(source: Path, part: Path) -> None:
    with translated(), _opened(source) as running, _opened(part, vfs=WITHOUT_LOCKS) as copy:
        running.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # the log stays as a dead server left it
        refuse_foreign(running)
        copy.execute("PRAGMA synchronous=OFF")  # synced once, at the end
        copy.execute("PRAGMA journal_mode=OFF")
        running.execute("BEGIN")
        running.execute("PRAGMA user_version").fetchall()  # the snapshot begins with the first read
        with copy.backup("main", running, "main") as backup:
            backup.step(-1)
        running.execute("ROLLBACK")


def _examine(part: Path) -> dict[str, int]:
    with translated(), _opened(part, vfs=WITHOUT_LOCKS) as copy:
        copy.execute("PRAGMA locking_mode=EXCLUSIVE")
        copy.execute("PRAGMA journal_mode=DELETE").fetchall()  # then it can be read where nobody may write
        said = copy.execute("PRAGMA integrity_check(1)").fetchall()
        if said != [("ok",)]:
            raise StoreRefused(f"The database is damaged, and so would be its backup: {said[0][0]}")
        tables = copy.execute("PRAGMA main.table_list").fetchall()
        names = sorted(str(name) for _, name, kind, *_ in tables if kind == "table")
        return {name: _count(copy, name) for name in names if not name.startswith("sqlite_")}


def _count(connection: apsw.Connection, table: str) -> int:
    quoted = table.replace('"', '""')
    count: int = connection.execute(f'SELECT count(*) FROM "{quoted}"').get  # noqa: S608 - a table's name, quoted
    return count


def copy_secrets(secrets: Path, beside: Path) -> list[Path]:
    """Copy the files of a folder into the new folder `beside`, for its owner's eyes only; their paths there."""
    beside.mkdir(mode=0o700)
    copied = []
    for each in sorted(each for each in secrets.iterdir() if each.is_file()):
        copied.append(beside / each.name)
        _write(copied[-1], each.read_bytes())
    _sync(beside)
    return copied


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _line(path: Path, name: str) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")  # as sha256sum writes them
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _named(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


@contextmanager
def _opened(path: Path, *, vfs: str | None = None) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        yield connection
    finally:
        connection.close()


@contextmanager
def _all_or_nothing(*paths: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for each in paths:
            if each.is_dir():
                shutil.rmtree(each)
            else:
                each.unlink(missing_ok=True)
        raise
