"""What can be asked of the server: every operation of every dialect, read off the running applications.

The isolation matrix is generated against this list, so that a route nobody declared is found by a test and not by
a stranger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.routing import BaseRoute, Mount, compile_path

from chatkeep.edge.doors import PREFIXES
from chatkeep.web.dialect import Built
from tests.world import World

PREFIX_OF: dict[str, str] = {dialect: prefix for prefix, dialect in PREFIXES}
EDGE = "edge"


@dataclass(frozen=True, order=True)
class Operation:
    """One method on one path template of one dialect; `WEBSOCKET` is a method here."""

    dialect: str
    method: str
    path: str


def built(world: World, dialect: str) -> Built:
    """The dialect as the server runs it."""
    return world.server.edge._dialects[dialect]  # type: ignore[index]


def dialects(world: World) -> list[str]:
    """All dialects of the server by name."""
    return list(world.server.edge._dialects)


def operations(world: World, dialect: str) -> set[Operation]:
    """All operations of a dialect, its hot routes included."""
    if dialect == EDGE:
        return {Operation(EDGE, "GET", path) for path in world.server.edge._own}
    found = {
        Operation(dialect, method, path)
        for method, path in _walk(built(world, dialect).app.routes)
        if method != "HEAD"
    }
    shapes = {(each.method, compile_path(each.path)[0].pattern) for each in found}
    for method, regex, _ in built(world, dialect).hot._routes:
        if (method, regex.pattern) not in shapes:
            found.add(Operation(dialect, method, regex.pattern))  # lifted without being declared
    return found


def openapi(world: World, dialect: str) -> dict[str, Any]:
    """The dialect's own OpenAPI document."""
    return built(world, dialect).app.openapi()


def _walk(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for route in routes:
        if hasattr(route, "effective_candidates"):  # FastAPI's included router
            yield from _walk(route.effective_candidates())
            yield from _walk(route.effective_low_priority_routes())
            continue
        own = getattr(route, "starlette_route", None) or route
        if isinstance(own, Mount):
            raise AssertionError(f"{own.path} is mounted: the walk must learn to look inside")
        path = getattr(own, "path", None)
        assert isinstance(path, str), f"a route without a path: {own!r}"
        methods = getattr(own, "methods", None)
        if methods is None:
            assert isinstance(own, BaseRoute)
            yield "WEBSOCKET", path
        else:
            for method in methods:
                yield method, path
