"""The declared routes, one module a dialect: what the isolation matrix is generated from."""

from __future__ import annotations

from tests.security.declared import Table
from tests.security.tables import cuadra, edge, lexicon, native, openwebui, synthflow

ALL = (edge.TABLE, native.TABLE, cuadra.TABLE, openwebui.TABLE, lexicon.TABLE, synthflow.TABLE)
TABLES: dict[str, Table] = {table.dialect: table for table in ALL}
