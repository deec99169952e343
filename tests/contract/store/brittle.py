"""SQLite's own way to the disk, with a counter and a breaker: syncs are counted, and fail when told to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw


class Disk(apsw.VFS):
    """While registered as the default, everything newly opened goes through it."""

    def __init__(self) -> None:
        super().__init__("brittle", "unix", makedefault=True)
        self.wal_syncs = 0
        self.is_broken = False

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        self._is_wal = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__("unix", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._disk.is_broken:
            raise apsw.IOError("the disk did not sync")
        self._disk.wal_syncs += self._is_wal
        super().xSync(flags)


@contextmanager
def brittle_disk() -> Iterator[Disk]:
    """Stores opened inside stand on this disk."""
    disk = Disk()
    try:
        yield disk
    finally:
        disk.unregister()
