"""OpenAI's chunks, as different servers write them, become the same pieces; anything else is `Malformed`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatkeep.domain.usage import Usage
from chatkeep.models.completion_stream import CompletionStream, parse_json
from chatkeep.models.malformed import Malformed
from chatkeep.models.port import Counted, Finished, Piece, ReasoningDelta, TextDelta

STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def heard(*chunks: Any) -> list[Piece]:
    answer = CompletionStream()
    pieces = [piece for chunk in chunks for piece in answer.take(json.dumps(chunk).encode())]
    return pieces + list(answer.finish())


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_under_either_name(field: str) -> None:
    pieces = heard(delta(**{field: "hm"}), delta(**{field: "m", "content": "Yes"}), STOP)
    assert pieces == [
        ReasoningDelta("hm"),
        ReasoningDelta("m"),
        TextDelta("Yes"),
        Finished(None, "stop"),
    ]


def test_reasoning_under_both_names_counts_once() -> None:
    assert heard(delta(reasoning="hm", reasoning_content="hm"), STOP)[:-1] == [ReasoningDelta("hm")]


def test_empty_and_missing_pieces_are_no_pieces() -> None:
    chunks = delta(role="assistant", content=None), delta(content=""), delta(tool_calls=[]), {"id": "1"}
    assert heard(*chunks, STOP) == [Finished(None, "stop")]


def test_the_last_usage_counts_with_or_without_choices() -> None:
    early = delta(content="x") | {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    late = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}}
    assert heard(early, STOP, late)[-1] == Finished(Usage(3, 9), "stop")
    assert heard(early, STOP, {"choices": [], "usage": None})[-1] == Finished(Usage(3, 1), "stop")


def test_what_is_counted_as_it_goes_is_told_as_it_goes() -> None:
    def timings(written: int) -> dict[str, Any]:
        return {"timings": {"cache_n": 2, "prompt_n": 1, "predicted_n": written, "predicted_ms": 0.5}}

    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 3}}
    assert heard(delta(content="x") | timings(1), delta(content="y") | timings(2), STOP, usage) == [
        TextDelta("x"),
        Counted(Usage(3, 1)),
        TextDelta("y"),
        Counted(Usage(3, 2)),
        Finished(Usage(3, 3), "stop"),
    ]
    odd = {"timings": {"cache_n": 2, "prompt_n": None, "predicted_n": 1}}
    assert heard(delta(content="x") | odd, STOP)[-1] == Finished(None, "stop")


@pytest.mark.parametrize("count", [-1, 1.5, True, "3", None, 2**60])
def test_a_count_that_is_none_is_not_believed(count: Any) -> None:
    usage = {"usage": {"prompt_tokens": count, "completion_tokens": 1}}
    assert heard(STOP | usage)[-1] == Finished(None, "stop")


@pytest.mark.parametrize(
    ("cost", "told"),
    [
        (0.00014, "0.00014"),
        (1.4e-07, "0.00000014"),
        (0.00014249999999999998, "0.0001425"),
        (2, "2"),
        (100.0, "100"),
        (0, "0"),
        (-0.0, "0"),
        (1e-300, "0"),
        (-0.1, None),
        (1e300, None),
        (10**400, None),
        (float("inf"), None),
        (float("nan"), None),
        ("0.1", None),
        (True, None),
        (None, None),
    ],
)
def test_what_the_provider_says_it_cost(cost: Any, told: str | None) -> None:
    usage = {"usage": {"prompt_tokens": 3, "completion_tokens": 1, "cost": cost}}
    assert heard(STOP | usage)[-1] == Finished(Usage(3, 1, told), "stop")


def test_only_the_first_of_many_choices_is_heard() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]}
    assert heard(delta(content="yes"), other, STOP) == [TextDelta("yes"), Finished(None, "stop")]


def test_text_in_the_chunk_that_ends_the_answer_is_heard() -> None:
    last = {"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": "length"}]}
    assert heard(last) == [TextDelta("!"), Finished(None, "length")]


def test_a_reason_is_short_and_clean() -> None:
    last = {"choices": [{"delta": {}, "finish_reason": "\ud800" + "x" * 1000}]}
    assert heard(last) == [Finished(None, "\ufffd" + "x" * 63)]


def test_done_without_a_reason_is_an_end_for_an_unknown_reason() -> None:
    answer = CompletionStream()
    assert list(answer.take(b"[DONE]")) == []
    assert list(answer.take(b"after the end nothing is heard")) == []
    assert list(answer.finish()) == [Finished(None, "unknown")]


def test_a_half_character_at_the_end_is_given_before_the_end() -> None:
    chunks = delta(reasoning="r\ud83d"), delta(content="t\ud83d"), STOP
    assert heard(*chunks)[2:] == [ReasoningDelta("\ufffd"), TextDelta("\ufffd"), Finished(None, "stop")]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"{oops", "not JSON: {oops"),
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"42", "not an object"),
        (b'{"choices": [{"delta": {"content": 42}}]}', "content is not text"),
        (b'{"choices": [{"delta": {"reasoning": ["a"]}}]}', "reasoning is not text"),
        (b'{"error": {"message": "out of memory"}}', "upstream error: out of memory"),
        (b'{"error": "busy"}', "upstream error: busy"),
        (b'{"error": {"code": 7}}', "upstream error: {'code': 7}"),
    ],
)
def test_what_is_not_a_chunk_is_malformed(data: bytes, sentence: str) -> None:
    with pytest.raises(Malformed, match=sentence):
        list(CompletionStream().take(data))


def test_an_answer_that_was_broken_off_has_no_end() -> None:
    answer = CompletionStream()
    assert list(answer.take(json.dumps(delta(content="half")).encode())) == [TextDelta("half")]
    with pytest.raises(Malformed, match="ended before"):
        list(answer.finish())


def test_broken_utf8_is_let_through_as_replacement() -> None:
    assert parse_json(b'{"a": "x\xff\xfey"}') == {"a": "x\ufffd\ufffdy"}
    assert parse_json(b'"\\ud83d"') == "\ud83d"
