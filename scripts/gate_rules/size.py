"""Law 8: how long a file and a function may be, how many parameters it takes, and what a file may not be called."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from .source import Finding, Function, Source

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 6
# A name that says nothing gathers everything.
EMPTY_NAMES = frozenset(
    {"utils", "util", "helpers", "helper", "common", "base", "manager", "managers", "misc"}
)


def file_size(source: Source) -> Iterator[Finding]:
    lines = len(source.text.splitlines())
    if lines > FILE_LINES_MAX:
        sentence = f"{lines} lines; a file stops at {FILE_LINES_MAX}: split it by noun"
        yield source.finding("file-size", lines, sentence, "file")


def function_size(source: Source) -> Iterator[Finding]:
    for function in source.functions:
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            sentence = f"{function.name} has {lines} lines; a function stops at {FUNCTION_LINES_MAX}"
            yield source.finding("function-size", function.lineno, sentence, function.name)


def parameters(source: Source) -> Iterator[Finding]:
    for function in source.functions:
        count = _parameter_count(function)
        if count > PARAMETERS_MAX and not _is_command(function):
            sentence = f"{function.name} takes {count} parameters; {PARAMETERS_MAX} are the most: make a value of them"
            yield source.finding("parameters", function.lineno, sentence, function.name)


def file_name(source: Source) -> Iterator[Finding]:
    path = PurePosixPath(source.path)
    for part in (*path.parts[:-1], path.stem):
        if part in EMPTY_NAMES or part.rpartition("_")[2] in EMPTY_NAMES - {"base"}:
            sentence = f'"{part}" says nothing about what is inside: name the file after its noun'
            yield source.finding("file-name", 1, sentence, part)


def _parameter_count(function: Function) -> int:
    arguments = function.args
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    own = len(positional) - (positional[:1] in (["self"], ["cls"]))
    return own + len(arguments.kwonlyargs) + bool(arguments.vararg) + bool(arguments.kwarg)


def _is_command(function: Function) -> bool:
    """A command's parameters are the user's options, declared one by one for typer."""
    called = [d.func for d in function.decorator_list if isinstance(d, ast.Call)]
    return any(isinstance(d, ast.Attribute) and d.attr in {"command", "callback"} for d in called)
