"""The server's own routes: open to everybody, and saying nothing about anybody."""

from __future__ import annotations

from tests.security.declared import Manners, Row, Table
from tests.security.surface import EDGE

TABLE = Table(
    EDGE,
    Manners(lambda secret: {"authorization": f"Bearer {secret}"}),
    tuple(Row(method="GET", path=path, is_public=True) for path in ("/", "/health", "/ready", "/metrics")),
)
