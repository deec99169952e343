"""Rules on text: an ignored complaint says why, and no file names a package registry's address."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator

from .source import Finding, Source

_DIRECTIVE = re.compile(
    r"#\s*(?:type:\s*ignore(?:\[[^\]]*\])?|(?:ruff:\s*|flake8:\s*)?noqa(?::\s*[A-Z]+\d+(?:[, ]+[A-Z]+\d+)*)?)"
)
_TWO_WORDS = re.compile(r"[^\W\d]+\W+[^\W\d]{2,}")
# Written so that this line does not match itself.
_REGISTRY = re.compile(
    r"\b(?:(?:test\.)?pypi|pythonhosted|npmjs|yarnpkg|crates|rubygems|anaconda)\.(?:org|com|io)\b"
    r"|\b(?:deb|security|ftp\.\w+)\.debian\.org\b|\b(?:archive|security)\.ubuntu\.com\b"
    r"|\bproxy\.golang\.org\b|\brepo\d?\.maven\.(?:org|apache\.org)\b",
    re.IGNORECASE,
)


def reasons(source: Source) -> Iterator[Finding]:
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type != tokenize.COMMENT or not _DIRECTIVE.search(token.string):
            continue
        if not _TWO_WORDS.search(_DIRECTIVE.sub("", token.string)):
            sentence = "an ignored complaint says why, on the same line: `# noqa: X000 - because ...`"
            yield source.finding("reasons", token.start[0], sentence)


def registries(path: str, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _REGISTRY.search(line):
            sentence = "a package registry's address: registries are the user's own setting"
            yield Finding("registries", path, number, found.group().lower(), sentence)
