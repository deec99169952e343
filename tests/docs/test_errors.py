"""Every error code is in the manual's table, with the status that the native API gives it, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from chatkeep.dialects.native.errors import STATUSES, write_plain
from chatkeep.domain import errors
from chatkeep.domain.errors import ChatkeepError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
OF_HTTP = (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.INTERNAL_SERVER_ERROR)
"""What Starlette itself refuses with, besides the 404 whose code is the domain's."""


def table() -> dict[str, tuple[int, str]]:
    """Code -> (status, meaning), as the manual says it."""
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len({code for code, _, _ in rows}) == len(rows), "a code is told twice"
    return {code: (int(status), meaning) for code, status, meaning in rows}


def tree(error: type[ChatkeepError]) -> Iterator[type[ChatkeepError]]:
    """The errors of the domain; dialects have some of their own."""
    if error.__module__ == errors.__name__:
        yield error
    for below in error.__subclasses__():
        yield from tree(below)


def test_every_code_is_told_with_its_status() -> None:
    known = {each.code: STATUSES.of(_one(each)) for each in tree(ChatkeepError)}
    known |= {status.name.lower(): int(status) for status in OF_HTTP}
    assert {code: status for code, (status, _) in table().items()} == known


def _one(error: type[ChatkeepError]) -> ChatkeepError:
    return error.__new__(error)


def test_every_meaning_is_a_sentence() -> None:
    for code, (_, meaning) in table().items():
        assert meaning.endswith("."), code
        assert len(meaning) > 10, code


def test_families_are_said_to_be_families() -> None:
    families = {each.code for each in tree(ChatkeepError) if any(_codes_below(each))}
    assert {code for code, (_, meaning) in table().items() if meaning.startswith("*Family")} == families


def _codes_below(error: type[ChatkeepError]) -> Iterator[str]:
    return (below.code for below in tree(error) if below.code != error.code)


def test_what_http_refuses_has_the_code_of_the_table() -> None:
    for status in OF_HTTP:
        assert f'"code":"{status.name.lower()}"'.encode() in bytes(write_plain(status, "x", "GET").body)
