"""Databases for the tests of this folder that share a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from tests.security.rows import Database


@pytest.fixture(scope="module")
def shared_database(engine: str, request: pytest.FixtureRequest) -> Iterator[Database | None]:
    """One an engine for all tests of a module; None for a file in its data folder."""
    if engine == "sqlite":
        yield None
        return
    with _lent(request) as database:
        yield database


@pytest.fixture(scope="module")
def shared_postgres(request: pytest.FixtureRequest) -> Iterator[Database]:
    """One on PostgreSQL for all tests of a module that are about nothing else."""
    with _lent(request) as database:
        yield database


@contextmanager
def _lent(request: pytest.FixtureRequest) -> Iterator[Database]:
    databases = request.getfixturevalue("postgres_databases")
    url = databases.fresh()
    superuser = urlsplit(request.getfixturevalue("postgres"))
    yield Database(url, superuser._replace(path=urlsplit(url).path).geturl())
    databases.drop(url)
