"""Which fields of requests can hold an id, read off the OpenAPI documents, and which of them no row has a place for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.security.declared import Row, Table
from tests.security.surface import openapi
from tests.world import World

_ID = re.compile(
    r"(^|_)(id|ids|cursor|owner|owners|user|shared_with|parent)$|[a-z](Id|Ids)$|^cursor$|Cursor$"
)
DEPTH_MAX = 6
Field = tuple[str, str, str]


def id_fields(world: World, dialect: str) -> set[Field]:
    """Method, path and dotted field name (list positions left out) of every request field that looks like an id."""
    document = openapi(world, dialect)
    found: set[Field] = set()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] in ("path", "query") and _ID.search(parameter["name"]):
                    found.add((method.upper(), path, parameter["name"]))
            for content in operation.get("requestBody", {}).get("content", {}).values():
                names = _names(document, content.get("schema", {}), ())
                found |= {(method.upper(), path, ".".join(name)) for name in names if _ID.search(name[-1])}
    return found


def undeclared_fields(world: World, table: Table) -> list[Field]:
    """The fields that no row of their operation puts an id into, and none declares opaque."""
    return sorted(field for field in id_fields(world, table.dialect) if not _is_declared(table, field))


def _is_declared(table: Table, field: Field) -> bool:
    method, path, name = field
    rows = [row for row in table.rows if (row.method, row.path) == (method, path)]
    return name in table.opaque or any(name in row.opaque or name in _places(row) for row in rows)


def _places(row: Row) -> set[str]:
    return {".".join(step for step in place.steps if isinstance(step, str)) for place in row.places()}


def _names(
    document: dict[str, Any], schema: dict[str, Any], at: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    if len(at) > DEPTH_MAX:
        return
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    for part in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(part, ()):
            yield from _names(document, each, at)
    if isinstance(schema.get("items"), dict):
        yield from _names(document, schema["items"], at)
    for name, inner in schema.get("properties", {}).items():
        yield (*at, name)
        yield from _names(document, inner, (*at, name))
