"""Events come out whole however their bytes arrive, and no upstream can make one grow without bound."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkeep.models.event_stream import EVENT_BYTES_MAX, EventStream, EventTooLong

WIRE = (
    b": a comment\r\n\r\n"
    b'data: {"a": 1}\r\n\r\n'
    b"data:no space\n\n"
    b"event: noise\nid: 7\nretry: 10\ndata: one\ndata: two\n\n"
    b"data:\n\n"
    b"data:  two spaces\n\n"
    b"garbage without a colon\n\n"
    b"data: [DONE]\n\n"
)
EVENTS = [b'{"a": 1}', b"no space", b"one\ntwo", b"", b" two spaces", b"[DONE]"]


def heard(parts: list[bytes]) -> list[bytes]:
    stream = EventStream()
    return [data for part in parts for data in stream.feed(part)] + list(stream.flush())


@given(st.lists(st.integers(0, len(WIRE)), max_size=12))
def test_events_survive_any_split(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WIRE)]
    assert heard([WIRE[start:end] for start, end in itertools.pairwise(edges)]) == EVENTS


def test_events_survive_single_bytes() -> None:
    assert heard([WIRE[i : i + 1] for i in range(len(WIRE))]) == EVENTS


def test_last_event_needs_no_blank_line() -> None:
    assert heard([b"data: [DONE]"]) == [b"[DONE]"]
    assert heard([b"data: [DONE]\n"]) == [b"[DONE]"]


def test_an_event_is_given_as_soon_as_it_is_whole() -> None:
    stream = EventStream()
    assert list(stream.feed(b"data: a\n")) == []
    assert list(stream.feed(b"\ndata: b")) == [b"a"]


def test_a_long_line_passes_up_to_the_bound() -> None:
    long = b"x" * (EVENT_BYTES_MAX - len(b"data: "))
    assert heard([b"data: " + long[:1000], long[1000:], b"\n\n"]) == [long]


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"data: " + b"x" * EVENT_BYTES_MAX, id="a line without an end"),
        pytest.param(b"data: " + b"x" * EVENT_BYTES_MAX + b"\n\n", id="a whole line"),
        pytest.param((b"data: " + b"x" * 1000 + b"\n") * 1100, id="an event of many lines"),
    ],
)
def test_what_is_longer_than_the_bound_is_refused(wire: bytes) -> None:
    parts = [wire[start : start + 65536] for start in range(0, len(wire), 65536)]
    with pytest.raises(EventTooLong):
        heard(parts)


def test_events_before_one_that_is_too_long_are_given() -> None:
    events = EventStream().feed(b"data: first\n\ndata: " + b"x" * EVENT_BYTES_MAX)
    assert next(events) == b"first"
    with pytest.raises(EventTooLong):
        next(events)
