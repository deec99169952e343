"""Loads the named SQL of `queries/*.sql` for one engine."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import aiosql

SYSTEM = "system_"


@cache
def load(adapter: str) -> dict[str, str]:
    """All statements by name, in the parameter style of `adapter` (an aiosql adapter's name)."""
    with as_file(files("chatkeep.store") / "queries") as folder:
        queries = aiosql.from_path(folder, adapter, mandatory_parameters=False)
    return {
        name: getattr(queries, name).sql for name in queries.available_queries if not name.endswith("_cursor")
    }
