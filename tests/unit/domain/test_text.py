"""Text rules: what may be stored, how titles are made, how times are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkeep.domain.errors import InvalidField
from chatkeep.domain.text import check_text, iso_z, iso_z_or_none, tag_id, title_from

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
clean = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


@given(clean)
def test_text_within_its_bounds_is_unchanged(text: str) -> None:
    assert check_text("f", text) is text
    assert check_text("f", text, characters_max=len(text), bytes_max=len(text.encode())) is text


@given(clean.filter(bool))
def test_text_over_a_bound_is_refused_with_the_bound(text: str) -> None:
    with pytest.raises(InvalidField, match=f"f: must have at most {len(text) - 1} characters"):
        check_text("f", text, characters_max=len(text) - 1)
    size = len(text.encode())
    with pytest.raises(InvalidField, match=f"f: must have at most {size - 1} bytes"):
        check_text("f", text, bytes_max=size - 1)


@given(clean, clean)
def test_nul_and_lone_surrogates_are_refused_anywhere(before: str, after: str) -> None:
    for part, sentence in (("\x00", "NUL"), ("\ud800", "surrogates"), ("\udfff", "surrogates")):
        with pytest.raises(InvalidField, match=sentence) as refused:
            check_text("f", before + part + after)
        assert refused.value.field == "f"


@given(clean)
def test_a_title_is_one_line_of_at_most_sixty_characters(message: str) -> None:
    title = title_from(message)
    assert 1 <= len(title) <= 60
    assert title == " ".join(title.split())
    if title.endswith("…") and not message.rstrip().endswith("…"):
        assert " ".join(message.split()).startswith(title[:-1])
    elif message.split():
        assert title == " ".join(message.split())
    check_text("title", title)


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("Hello", "Hello"),
        ("  two\n\tlines  ", "two lines"),
        ("", "New Chat"),
        (" \n ", "New Chat"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("word " * 20, "word " * 10 + "word…"),
        ("a, " + "b" * 40 + ", " + "c" * 40, "a, " + "b" * 40 + "…"),
        ("ab " + "c" * 80, "ab " + "c" * 56 + "…"),
    ],
)
def test_a_title_ends_with_a_word_where_one_is_near(message: str, title: str) -> None:
    assert title_from(message) == title


@pytest.mark.parametrize(
    ("name", "tag"), [("My Work", "my_work"), (" a ", "a"), ("ÜBER uns", "über_uns"), ("a_b", "a_b")]
)
def test_a_tags_id_is_its_name_in_lower_case_without_blanks(name: str, tag: str) -> None:
    assert tag_id(name) == tag


@given(clean)
def test_a_tags_id_is_its_own_id(name: str) -> None:
    assert tag_id(tag_id(name)).strip("_") == tag_id(name).strip("_") or not name.isascii()


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_reads_back_to_the_microsecond(time: datetime) -> None:
    written = iso_z((time - EPOCH) // timedelta(microseconds=1))
    assert written.endswith("Z")
    assert datetime.fromisoformat(written) == time
    assert ("." in written) is bool(time.microsecond)
    assert len(written) in (20, 27)


@given(st.integers(0, 4_000_000_000_000_000), st.integers(0, 4_000_000_000_000_000))
def test_written_times_of_one_form_sort_like_times(first: int, second: int) -> None:
    first, second = first | 1, second | 1
    if (first % 1_000_000 and second % 1_000_000) and first < second:
        assert iso_z(first) < iso_z(second)


def test_no_time_is_no_text() -> None:
    assert iso_z_or_none(None) is None
    assert iso_z_or_none(0) == "1970-01-01T00:00:00Z"
