"""One PostgreSQL for all workers of a test run, or a running one that the environment names.

The first who needs it starts it, the others find its URL in a file. It goes when the last of them has ended, however:
each holds a lock that `keeper` waits for. Nobody has to be the last, and a worker that is replaced changes nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres.server import Postgres, hold

ENVIRONMENT = "CHATKEEP_TEST_POSTGRES_URL"


@contextmanager
def shared_server(run_folder: Path) -> Iterator[str]:
    """The URL of a role that may make databases and roles, good for the length of the block.

    `run_folder` is where the processes of this run meet. One block in a process (see `hold`).
    """
    if given := os.environ.get(ENVIRONMENT):
        yield given
        return
    said = run_folder / "postgres.url"
    # Waits while a keeper ends a server that all others have left.
    with hold(run_folder / "postgres.users") as held:
        with (run_folder / "postgres.turn").open("a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not said.exists():
                server = Postgres.temporary(held=held, doomed=(said,))
                server.start()
                said.write_text(server.superuser_url)
        yield said.read_text()
