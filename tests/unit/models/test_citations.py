"""Sources, wherever a provider names them, are told once each, with all that is known; anything else is passed over."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatkeep.models.citations import (
    TEXT_CHARACTERS_MAX,
    TITLE_CHARACTERS_MAX,
    URL_CHARACTERS_MAX,
)
from chatkeep.models.completion_stream import CompletionStream
from chatkeep.models.port import SOURCES_MAX, Finished, Piece, Source, TextDelta

STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
PAGE = "https://example.org/a"


def heard(*chunks: Any) -> list[Piece]:
    answer = CompletionStream()
    pieces = [piece for each in (*chunks, STOP) for piece in answer.take(json.dumps(each).encode())]
    assert answer.finish() == [Finished(None, "stop")]
    return pieces


def annotated(part: str = "delta", **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, part: {"annotations": [{"type": "url_citation", **fields}]}}]}


@pytest.mark.parametrize("part", ["delta", "message"])
def test_an_annotation_nested_or_flat(part: str) -> None:
    cited = {"url": PAGE, "title": "A", "content": "text", "start_index": 0, "end_index": 3}
    assert heard(annotated(part, url_citation=cited)) == [Source(PAGE, "A", "text")]
    assert heard(annotated(part, **cited)) == [Source(PAGE, "A", "text")]


def test_lists_beside_the_choices_are_heard_once_though_sent_with_each_chunk() -> None:
    lists = {
        "citations": [PAGE, "https://example.org/b"],
        "search_results": [{"url": PAGE, "title": "A", "snippet": "text", "date": None}],
    }
    said = [{"choices": [{"index": 0, "delta": {"content": word}}], **lists} for word in ("x", "y")]
    assert heard(*said) == [
        TextDelta("x"),
        Source(PAGE, "A", "text"),
        Source("https://example.org/b", None, None),
        TextDelta("y"),
    ]


def test_what_is_learned_later_is_added() -> None:
    late = {"choices": [], "search_results": [{"url": PAGE, "title": "A"}]}
    assert heard({"citations": [PAGE]}, late, annotated(url=PAGE, title="B", content="text")) == [
        Source(PAGE, None, None),
        Source(PAGE, "A", None),
        Source(PAGE, "A", "text"),
    ]


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "ftp://example.org",
        "file:///etc/passwd",
        "//example.org",
        "example.org",
        "https://",
        "https://[",
        "https://example.org/a b",
        "https://example.org/\n",
        "https://example.org/\0",
        "https://example.org/\ud800",
        "https://example.org/" + "x" * URL_CHARACTERS_MAX,
        "",
        None,
        7,
    ],
)
def test_only_pages_are_sources(url: Any) -> None:
    assert heard({"citations": [url]}, annotated(url=url), {"search_results": [{"url": url}]}) == []


def test_what_is_no_list_of_sources_is_passed_over() -> None:
    other = {"choices": [{"index": 0, "delta": {"annotations": [{"type": "file", "url": PAGE}, "x", None]}}]}
    second = {"choices": [{"index": 1, "delta": {"annotations": [{"type": "url_citation", "url": PAGE}]}}]}
    assert heard(other, second, {"citations": PAGE}, {"search_results": {"url": PAGE}}) == []


def test_there_is_a_bound_to_everything() -> None:
    many = heard({"citations": [f"{PAGE}{number}" for number in range(SOURCES_MAX + 10)]})
    assert [piece.url for piece in many if isinstance(piece, Source)] == [
        f"{PAGE}{n}" for n in range(SOURCES_MAX)
    ]
    (source,) = heard(annotated(url=PAGE, title="\0" * 10_000, content="\ud800" * 10_000))
    assert source == Source(PAGE, "\ufffd" * TITLE_CHARACTERS_MAX, "\ufffd" * TEXT_CHARACTERS_MAX)
