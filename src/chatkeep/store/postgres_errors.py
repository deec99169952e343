"""PostgreSQL's error codes in the store's own words."""

from __future__ import annotations

import asyncpg

from chatkeep.domain.errors import ChatkeepError, Conflict, StoreBusy, StoreFull, StoreLost, StoreRefused

_LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shut down, crashed, or not up yet
    asyncpg.InternalClientError,
)

ENGINE_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection that was told of the server's end while nobody used it, for one
    OSError,
    TimeoutError,
)
"""All that the engine and the way to it raise; but one that is a `ValueError` too is a value of the wrong type."""

CONTENDED = (
    asyncpg.TransactionRollbackError,  # a deadlock, for one
    asyncpg.LockNotAvailableError,
)
"""Others wanted the same rows: the transaction is undone, and may be run again."""


def is_connection_lost(error: BaseException) -> bool:
    """Whether it says nothing about the statement: on another connection, or a little later, the same may work."""
    return isinstance(error, _LOST) and not isinstance(error, ValueError)  # that is a value of the wrong type


def told(error: BaseException) -> BaseException:
    """The store's error where the engine raised it; a bug stays what it is."""
    is_engine = isinstance(error, ENGINE_ERRORS) and not isinstance(error, ValueError)
    return translate(error) if is_engine else error


def translate(error: BaseException) -> ChatkeepError:
    """The store's error for one of PostgreSQL's or of the connection's."""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return Conflict("An object with this key exists already, or one that it names does not.")
    if isinstance(error, asyncpg.DiskFullError):
        return StoreFull("The store is full; nothing was written.")
    if isinstance(error, CONTENDED):
        return StoreBusy("The store is busy; nothing was written.")
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError | asyncpg.InvalidCatalogNameError):
        return StoreRefused(f"The database cannot be used: {error}")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return StoreRefused(f"The database does not allow it: {error}")
    if is_connection_lost(error) or isinstance(error, asyncpg.InsufficientResourcesError):
        return StoreBusy("The database does not answer; nothing was written.")
    return StoreLost(f"The store failed: {error}")
