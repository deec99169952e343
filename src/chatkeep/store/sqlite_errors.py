"""SQLite's error codes in the store's own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from chatkeep.domain.errors import ChatkeepError, Conflict, StoreBusy, StoreFull, StoreLost, StoreRefused

_NO_SPACE = {apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_SHMSIZE, apsw.SQLITE_IOERR_TRUNCATE}


def translate(error: apsw.Error) -> ChatkeepError:
    """The store's error for one of SQLite's."""
    if isinstance(error, apsw.ConstraintError):
        return Conflict("An object with this key exists already, or one that it names does not.")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StoreBusy("The store is busy; nothing was written.")
    if isinstance(error, apsw.FullError):
        return StoreFull("The store is full; nothing was written.")
    if isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) in _NO_SPACE:
        return StoreFull("The disk refuses to take more; nothing was written.")
    if isinstance(error, apsw.NotADBError | apsw.CorruptError | apsw.CantOpenError):
        return StoreRefused(f"The database file cannot be used: {error}")
    return StoreLost(f"The store failed: {error}")


@contextmanager
def translated() -> Iterator[None]:
    """Turn SQLite's errors into the store's."""
    try:
        yield
    except apsw.Error as error:
        raise translate(error) from error
