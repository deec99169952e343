"""Tells in a fraction of a microsecond whether anything was committed to a SQLite file since an earlier look.

The header of the write-ahead log's index (48 bytes at the start of the `-shm` file, see sqlite.org/walformat.html)
changes with every commit of any process, exactly when the commit becomes visible to readers. It is mapped once and only
read. Closing a descriptor of that file would drop the locks that SQLite holds on it in this process (POSIX), so the
mapping of a file is shared and let go only after its last store has closed its connections.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

HEADER_BYTES = 48


@dataclass(slots=True)
class _Mapping:
    descriptor: int
    view: mmap.mmap
    users: int


_mappings: dict[tuple[int, int], _Mapping] = {}
_counting = Lock()  # stores may be opened in several threads


class Moment:
    """The state of one database file. Open it while a connection is open, close it after all connections are closed."""

    def __init__(self, path: Path) -> None:
        shm = path.with_name(path.name + "-shm")
        found = shm.stat()
        self._key = (found.st_dev, found.st_ino)
        with _counting:
            mapping = _mappings.get(self._key)
            if mapping is None:
                descriptor = os.open(shm, os.O_RDONLY | os.O_CLOEXEC)
                view = mmap.mmap(descriptor, HEADER_BYTES, mmap.MAP_SHARED, mmap.PROT_READ)
                mapping = _mappings[self._key] = _Mapping(descriptor, view, 0)
            mapping.users += 1
        self._view = mapping.view

    def now(self) -> bytes:
        """Equal to an earlier value only if nothing was committed in between."""
        return self._view[:HEADER_BYTES]

    def close(self) -> None:
        """Let go of the file."""
        with _counting:
            mapping = _mappings[self._key]
            mapping.users -= 1
            if mapping.users == 0:
                del _mappings[self._key]
                mapping.view.close()
                os.close(mapping.descriptor)
