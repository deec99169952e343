"""A process that writes into a database another one is serving: `python -m tests.contract.store.errand PATH COUNT`.

Prints a line once the store is open; ends with 0 when every write was acknowledged.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from chatkeep.store.sqlite import open_sqlite
from tests.contract.store.place import ACME
from tests.contract.store.transactions import adding


async def run(path: Path, count: int) -> None:
    """Open, write, close."""
    store = open_sqlite(path)
    print("open", flush=True)  # noqa: T201 - this is what the test waits for
    for number in range(count):
        await store.write(ACME, adding(f"errand {number}"))
    await store.close()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
