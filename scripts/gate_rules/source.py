"""What every gate reads and gives: a Python source with its names resolved, and a finding.

Called by the gates only. A source that does not parse is a finding of its own, never a crash.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of one rule. `subject` is what an excuse can name beside the path (a function, a keyword, a query)."""

    gate: str
    path: str
    line: int
    subject: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.gate}: {self.sentence}"


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the repository's root with forward slashes, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Function))

    @cached_property
    def _imported(self) -> dict[str, str]:
        return dict(_imported_names(self.nodes))

    def dotted(self, node: ast.AST) -> str | None:
        """The full name that an expression stands for if an import brought it in: `t.time` after `import time as t`
        is "time.time". None for anything else, so a local variable called `random` is nobody's business."""
        if isinstance(node, ast.Name):
            return self._imported.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.dotted(node.value)
            return f"{owner}.{node.attr}" if owner else None
        return None

    def function_at(self, line: int) -> str:
        """The name of the innermost function around a line, or "module"."""
        around = [f for f in self.functions if f.lineno <= line <= (f.end_lineno or f.lineno)]
        return max(around, key=lambda function: function.lineno).name if around else "module"

    def finding(self, gate: str, line: int, sentence: str, subject: str = "") -> Finding:
        """A finding in this file; the subject is the function around it unless given."""
        return Finding(gate, self.path, line, subject or self.function_at(line), sentence)


def _imported_names(nodes: tuple[ast.AST, ...]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for name in node.names:
                yield (name.asname, name.name) if name.asname else (name.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for name in node.names:
                yield name.asname or name.name, f"{node.module}.{name.name}"
