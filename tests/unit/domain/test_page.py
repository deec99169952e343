"""Cursors: what was written reads back, and nothing else ever reads as anything but `BadCursor`."""

from __future__ import annotations

import base64
import json
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatkeep.domain.errors import BadCursor
from chatkeep.domain.page import Page, read_cursor, write_cursor

integers = st.integers(-(2**63) + 1, 2**63 - 1)
ids = st.text(string.ascii_letters + string.digits + "._:@/+=-", min_size=1, max_size=128)
parts = st.lists(integers | ids, max_size=4)
SHAPES = [(int,), (str,), (int, str), ()]


@given(parts)
def test_what_was_written_reads_back(values: list[int | str]) -> None:
    cursor = write_cursor(*values)
    assert read_cursor(cursor, *(type(value) for value in values)) == values
    assert set(cursor) <= set(string.ascii_letters + string.digits + "-_")


@given(parts, st.sampled_from(SHAPES))
def test_the_cursor_of_another_list_is_refused(values: list[int | str], shape: tuple[type, ...]) -> None:
    if tuple(type(value) for value in values) != shape:
        with pytest.raises(BadCursor):
            read_cursor(write_cursor(*values), *shape)


def harmless(cursor: str, shape: tuple[type, ...]) -> None:
    """The cursor is refused, or says what could have been written."""
    try:
        found = read_cursor(cursor, *shape)
    except BadCursor:
        return
    assert [type(value) for value in found] == list(shape)
    assert read_cursor(write_cursor(*found), *shape) == found


@given(st.text(), st.sampled_from(SHAPES))
@example("", (int,))
@example("W10", ())
@example("=", (int,))
@example("\ud800", (int,))
@example("é", (int,))
def test_any_text_is_a_cursor_or_refused(text: str, shape: tuple[type, ...]) -> None:
    harmless(text, shape)


@given(st.binary(), st.sampled_from(SHAPES))
@example(b"[" * 100_000, (int,))
@example(b"[" + b"9" * 10_000 + b"]", (int,))
@example(b"\xff\xfe[\x001\x00]\x00", (int,))
def test_any_bytes_inside_are_a_cursor_or_refused(raw: bytes, shape: tuple[type, ...]) -> None:
    harmless(base64.urlsafe_b64encode(raw).decode().rstrip("="), shape)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=30)
@given(json_values, st.sampled_from(SHAPES))
@example([True], (int,))
@example([1.0], (int,))
@example([float("nan")], (int,))
@example([2**63], (int,))
@example([-(2**63)], (int,))
@example([1, "a b"], (int, str))
@example([1, "\x00"], (int, str))
@example([1, ""], (int, str))
@example({"0": 1}, (int,))
def test_any_json_inside_is_a_cursor_or_refused(value: object, shape: tuple[type, ...]) -> None:
    harmless(base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("="), shape)


@pytest.mark.parametrize(
    "value", [[True], [1.0], [2**63], [-(2**63)], ["1"], [None], [[1]], [1, 2], [], {"a": 1}, 1, None, "1"]
)
def test_what_only_looks_like_a_number_is_refused(value: object) -> None:
    with pytest.raises(BadCursor, match="The cursor is not one of this list"):
        read_cursor(base64.urlsafe_b64encode(json.dumps(value).encode()).decode(), int)


@given(parts.filter(bool), st.data())
def test_a_changed_cursor_is_a_cursor_or_refused(values: list[int | str], data: st.DataObject) -> None:
    cursor = list(write_cursor(*values))
    cursor[data.draw(st.integers(0, len(cursor) - 1))] = data.draw(st.characters())
    harmless("".join(cursor), tuple(type(value) for value in values))


def test_a_page_knows_whether_it_is_the_last() -> None:
    assert Page([1], "x").has_more
    assert not Page([1], None).has_more
