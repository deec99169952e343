"""Laws 2 and 3: SQL stands in the query files, and every statement there on a tenant's table names the organisation.

A statement that works across organisations is called `system_…` and listed in `scripts/gates.py` with its reason.
Which tables are a tenant's is read from the migrations: those with a column `organisation_id`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .source import Finding, Source

MIGRATIONS = "src/chatkeep/store/migrations/"
QUERIES = "src/chatkeep/store/queries/"

# Upper case as SQL is written here, or lower case where the next words leave little doubt; a sentence has neither.
# "DELETE /v1/chats" is a route.
_QUERY = re.compile(
    r"\s*(?:(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|REPLACE|WITH)(?:\s+(?!/)\S|\s*\Z(?<=\s))"
    r"|(?:select\s.+\sfrom\s|insert\s+(?:or\s+\w+\s+)?into\s|update\s+\w+\s+set\s|delete\s+from\s"
    r"|(?:create|drop|alter)\s+(?:unique\s+)?(?:table|index|view|trigger)\s))",
    re.DOTALL,
)
_CONTROL = re.compile(r"\s*(?:PRAGMA\s|VACUUM\b|(?:BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b)")

_NAME = re.compile(r"--\s*name:\s*([\w]+)")
_COMMENT = re.compile(r"--.*")
_TEXT = re.compile(r"'(?:[^']|'')*'")
# A comparison with the organisation, or a list that begins with it (INSERT, USING): one for each table touched.
_KEYED = re.compile(
    r"organisation_id\s*=|=\s*(?:\w+\.)?organisation_id\b|\(\s*organisation_id", re.IGNORECASE
)
_TABLE = re.compile(r"\b(?:from|join|into|update(?:\s+or\s+\w+)?)\s+([a-z_][a-z0-9_]*)", re.IGNORECASE)
_CREATE = re.compile(
    r"create\s+table\s+(?:if\s+not\s+exists\s+)?(\w+)\s*\((.*?)\)[\w\s,]*;", re.IGNORECASE | re.DOTALL
)


def sql_in_python(source: Source) -> Iterator[Finding]:
    docstrings = {id(node) for node in _docstrings(source)}
    for node in source.nodes:
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)) or id(node) in docstrings:
            continue
        if _CONTROL.match(node.value):
            sentence = "pragmas and transactions are the SQLite driver's business"
            yield source.finding("sql", node.lineno, sentence, "control")
        elif _QUERY.match(node.value):
            yield source.finding("sql", node.lineno, "SQL lives in store/queries/*.sql, by name", "query")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a query file: its name, the line of that, and its text without comments and texts in quotes."""

    name: str
    line: int
    text: str


def tenant_tables(migrations: Mapping[str, str]) -> frozenset[str]:
    """The tables with a column `organisation_id`, from the texts of the migrations."""
    created = (match for text in migrations.values() for match in _CREATE.finditer(_COMMENT.sub("", text)))
    return frozenset(m.group(1).lower() for m in created if "organisation_id" in m.group(2))


def statements(text: str) -> Iterator[Statement]:
    """The statements of a query file, in order; one name may hold several, split at their semicolons."""
    starts = [*_NAME.finditer(text)]
    ends = [match.start() for match in starts[1:]] + [len(text)]
    for match, end in zip(starts, ends, strict=True):
        line = text.count("\n", 0, match.start()) + 1
        for part in _TEXT.sub("''", _COMMENT.sub("", text[match.end() : end])).split(";"):
            if part.strip():
                yield Statement(match.group(1), line, part)


def tenancy(path: str, text: str, tenants: frozenset[str]) -> Iterator[Finding]:
    """Statements on a tenant's table that are not bound to the caller's organisation, and all `system_…` ones."""
    for statement in statements(text):
        touched = [table for table in map(str.lower, _TABLE.findall(statement.text)) if table in tenants]
        complaint = _complaint(statement, touched)
        if complaint:
            yield Finding("tenancy", path, statement.line, statement.name, complaint)


def _complaint(statement: Statement, touched: list[str]) -> str | None:
    name, tables = statement.name, ", ".join(sorted(set(touched)))
    if name.startswith("system_"):
        return f'"{name}" works across organisations and is not in the table of scripts/gates.py'
    if touched and ":organisation_id" not in statement.text:
        return f'"{name}" touches {tables} without :organisation_id'
    if len(touched) > len(_KEYED.findall(statement.text)):
        return f'"{name}" touches {tables} and does not key each of them by organisation_id'
    return None


def _docstrings(source: Source) -> Iterator[ast.expr]:
    for node in source.nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr):
                yield first.value
