"""PostgreSQL as fixtures. Nothing is started, and nothing of it imported, for tests that ask for none of them.

`postgres_url` is what most want: the URL of a database with chatkeep's tables and no rows, gone afterwards.
"""

# ruff: noqa: PLC0415 - the driver takes a tenth of a second to import, and most tests do without

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.postgres.databases import Databases


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The run's server: the URL of its superuser (or of what CHATKEEP_TEST_POSTGRES_URL names). Not for chatkeep."""
    from tests.postgres.shared import shared_server

    folder = tmp_path_factory.getbasetemp()
    with shared_server(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_databases(postgres: str) -> Iterator[Databases]:
    """Databases with chatkeep's tables."""
    from tests.postgres.databases import Databases

    migrate = import_module("chatkeep.store.postgres_migrate").migrate

    with Databases(postgres, prepare=migrate, key="migrated") as databases:
        yield databases


@pytest.fixture(scope="session")
def postgres_empty_databases(postgres: str) -> Iterator[Databases]:
    """Databases without any table, for tests of the migrations."""
    from tests.postgres.databases import Databases

    with Databases(postgres, key="empty") as databases:
        yield databases


@pytest.fixture
def postgres_url(postgres_databases: Databases) -> Iterator[str]:
    """A fresh database with chatkeep's tables; connections that the test leaves open are ended."""
    url = postgres_databases.fresh()
    yield url
    postgres_databases.drop(url)


@pytest.fixture
def postgres_empty_url(postgres_empty_databases: Databases) -> Iterator[str]:
    """A fresh database without any table."""
    url = postgres_empty_databases.fresh()
    yield url
    postgres_empty_databases.drop(url)
