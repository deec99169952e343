"""ETags: what is written reads back as the version it stands for, whatever else a rendering depends on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkeep.domain.chat import ChatAccess
from chatkeep.web import etags


def access(created_at: int = 255, version: int = 3) -> ChatAccess:
    return ChatAccess(None, "private", created_at, version, None, None)


@given(st.integers(0, 2**62), st.integers(1, 10**15), st.sampled_from(["", "1", "12.ff"]))
def test_an_etag_names_its_chat_and_version(created_at: int, version: int, stamp: str) -> None:
    written = etags.write(access(created_at, version), stamp)
    assert etags.versions_in(written) == frozenset({(created_at, version)})
    assert etags.matches(written, written)


def test_what_else_a_rendering_depends_on_is_another_etag() -> None:
    assert len({etags.write(access(), stamp) for stamp in ("", "1", "2")}) == 3


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        (None, None),
        ("*", None),
        (" * ", None),
        ('"ff-3"', {(255, 3)}),
        ('"ff-3", "1-2"', {(255, 3), (1, 2)}),
        ('W/"ff-3"', set()),
        ("ff-3", set()),
        ('"ff-3', set()),
        ('"-3"', set()),
        ('"ff--3"', set()),
        ('"ff-' + "9" * 19 + '"', set()),
        ('"FF-3"', set()),
        ("", set()),
        ('"ff-٣"', set()),
    ],
)
def test_if_match_is_compared_strongly(header: str | None, versions: set[tuple[int, int]] | None) -> None:
    assert etags.versions_in(header) == versions


@pytest.mark.parametrize(
    ("header", "is_known"),
    [
        ('"ff-3"', True),
        ('W/"ff-3"', True),
        ('"a",  W/"ff-3"', True),
        ("*", True),
        ('"ff-4"', False),
        ("ff-3", False),
        ("", False),
    ],
)
def test_if_none_match_is_compared_weakly(header: str, is_known: bool) -> None:
    assert etags.matches(header, etags.write(access())) is is_known
