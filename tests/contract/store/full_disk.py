"""A process whose files may not grow any more: `python -m tests.contract.store.full_disk PATH`.

In a process of its own because the limit is the process's. Prints what happened as one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from functools import partial
from pathlib import Path

from chatkeep.domain.errors import StoreFull
from chatkeep.store.sqlite import open_sqlite
from tests.contract.store.place import ACME, add_agent, count_agents, found
from tests.contract.store.transactions import adding

ROOM_BYTES = 256 * 1024
GROUP = {"small": "x", "large": "x" * ROOM_BYTES, "small too": "x"}


async def run(path: Path) -> dict[str, object]:
    """Write until the disk takes no more, then make room again."""
    store = open_sqlite(path)
    await found(store, ACME)
    wal = path.with_name(path.name + "-wal")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + ROOM_BYTES, hard))
    written = refused = 0
    while refused < 3 and written < 10_000:
        try:
            await store.write(ACME, adding(f"a{written}"))
            written += 1
        except StoreFull:
            refused += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + ROOM_BYTES, hard))
    group = [store.write(ACME, partial(add_agent, agent_id=name, name=text)) for name, text in GROUP.items()]
    ends = await asyncio.gather(*group, return_exceptions=True)
    told: dict[str, object] = {
        "group": [type(end).__name__ for end in ends],
        "written": written,
        "refused": refused,
        "read": await store.read(ACME, count_agents),
        "healthy": store.is_healthy(),
    }
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await store.write(ACME, adding("more"))
    told["recovered"] = await store.read(ACME, count_agents) == written + 3
    await store.close()
    return told


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Path(sys.argv[1])))))  # noqa: T201 - this is what the test reads
