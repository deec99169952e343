"""`python -m tests.postgres`: a durable server until Ctrl-C or SIGTERM, to try things by hand and for benchmarks.

Prints the URL that chatkeep is given, and nothing else, on its standard output.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tests.postgres.server import Postgres


def main() -> None:
    """Start it, say where it is, and wait."""
    parser = argparse.ArgumentParser(prog="python -m tests.postgres", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, help="where its data stays; without it, they go with the server"
    )
    parser.add_argument("--fleeting", action="store_true", help="as in the tests: no fsync, no autovacuum")
    options = parser.parse_args()
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # also while it starts: then it is closed just as well
    is_durable = not options.fleeting
    folder = options.folder
    server = (
        Postgres(folder.resolve(), is_durable=is_durable)
        if folder
        else Postgres.temporary(is_durable=is_durable)
    )
    with server:
        print(f"superuser: {server.superuser_url}", file=sys.stderr)  # noqa: T201 - for who tries by hand
        print(server.url(), flush=True)  # noqa: T201 - this is what who started it reads
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
