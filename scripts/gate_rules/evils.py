"""One place for each evil: the environment, time and chance, broad handlers, unkept tasks, HTTP numbers, other people's
packages in the domain. A gate names every use; the table in `scripts/gates.py` says where a use is at home.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from http import HTTPStatus

from .source import Finding, Source

ENVIRONMENT = frozenset({"os.environ", "os.environb", "os.getenv", "os.putenv", "os.unsetenv"})
CLOCK = frozenset(
    {
        "time.time",
        "time.time_ns",
        "time.localtime",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "datetime.date.today",
        "os.urandom",
        "os.getrandom",
    }
)
BROAD = frozenset({"Exception", "BaseException"})
STATUSES = frozenset(
    {status.value for status in HTTPStatus if status.value >= HTTPStatus.BAD_REQUEST} | {499}
)
STATUS_MODULES = ("http.HTTPStatus", "starlette.status", "fastapi.status")


def environment(source: Source) -> Iterator[Finding]:
    for node, name in _used_names(source):
        if name in ENVIRONMENT:
            yield source.finding("environment", node.lineno, f"{name}: only config.py reads the environment")


def clock(source: Source) -> Iterator[Finding]:
    for node, name in _used_names(source):
        if name in CLOCK or _is_chance(name):
            sentence = f"{name}: time, chance and ids come in through the port, so that tests can turn them"
            yield source.finding("clock", node.lineno, sentence)


def broad_except(source: Source) -> Iterator[Finding]:
    sentence = "a handler for everything hides bugs: name the errors, or end it with a bare raise"
    for node in source.nodes:
        match node:
            case ast.ExceptHandler(type=caught) if _is_broad(caught) and not _passes_on(node):
                yield source.finding("broad-except", node.lineno, sentence)
            case ast.Call(func=function, args=caught) if source.dotted(function) == "contextlib.suppress":
                if any(map(_is_broad, caught)):
                    yield source.finding("broad-except", node.lineno, sentence)


def kept_tasks(source: Source) -> Iterator[Finding]:
    for node in source.nodes:
        match node:
            case ast.Expr(value=ast.Call() as call) if _starts_task(source, call):
                pass
            case ast.Assign(targets=[ast.Name(id="_")], value=ast.Call() as call) if _starts_task(
                source, call
            ):
                pass
            case _:
                continue
        sentence = "nobody keeps this task: it can vanish while running, and its error is lost"
        yield source.finding("kept-tasks", node.lineno, sentence)


def http_numbers(source: Source) -> Iterator[Finding]:
    if not source.path.startswith("src/"):
        return
    for node in source.nodes:
        if isinstance(node, ast.keyword) and node.arg == "status_code" and _is_integer(node.value):
            yield source.finding(
                "http-numbers", node.value.lineno, "a status is the business of web, edge and errors.py"
            )
        elif isinstance(node, ast.Constant) and _is_integer(node) and node.value in STATUSES:
            sentence = (
                f"{node.value} reads as an HTTP status; those live in web, edge and dialects/*/errors.py"
            )
            yield source.finding("http-numbers", node.lineno, sentence)
    for used, name in _used_names(source):
        if name.startswith(STATUS_MODULES) and name.count(".") > 1:
            yield source.finding(
                "http-numbers", used.lineno, f"{name}: a status is the business of web, edge and errors.py"
            )


def pure_domain(source: Source) -> Iterator[Finding]:
    if not source.path.startswith("src/chatkeep/domain/"):
        return
    for node in source.nodes:
        for module in _imported_modules(node):
            if module.split(".")[0] not in sys.stdlib_module_names and not module.startswith(
                "chatkeep.domain"
            ):
                yield source.finding(
                    "pure-domain", getattr(node, "lineno", 1), f"the domain imports {module}"
                )


def _used_names(source: Source) -> Iterator[tuple[ast.Attribute | ast.Name, str]]:
    for node in source.nodes:
        if isinstance(node, ast.Attribute | ast.Name) and (name := source.dotted(node)):
            yield node, name
        # random.Random(7) repeats itself and is welcome; random.Random() is chance.
        match node:
            case ast.Call(func=ast.Attribute() | ast.Name() as made, args=[]) if (
                source.dotted(made) == "random.Random"
            ):
                yield made, "random.Random()"


def _is_chance(name: str) -> bool:
    module, _, function = name.partition(".")
    if module == "random":
        return function not in {"", "Random"}
    if module == "secrets":
        return function not in {"", "compare_digest"}
    return module in {"uuid", "uuid_utils"} and function.rpartition(".")[2].removeprefix("uuid") in set(
        "14678"
    )


def _is_broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(_is_broad(one) for one in caught.elts)
    return caught is None or (isinstance(caught, ast.Name) and caught.id in BROAD)


def _passes_on(handler: ast.ExceptHandler) -> bool:
    """Cleaning up and raising the same error again swallows nothing."""
    leaves = any(isinstance(node, ast.Return | ast.Continue | ast.Break) for node in ast.walk(handler))
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None and not leaves


def _starts_task(source: Source, call: ast.Call) -> bool:
    if source.dotted(call.func) in {"asyncio.create_task", "asyncio.ensure_future"}:
        return True
    if not (isinstance(call.func, ast.Attribute) and call.func.attr == "create_task"):
        return False
    # A TaskGroup keeps its tasks; a loop does not.
    return "loop" in ast.unparse(call.func.value).lower()


def _is_integer(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int


def _imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module]
    return []
