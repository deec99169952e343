"""Calls of tools, as different servers stream them, become the same whole calls; halves of calls are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatkeep.models.completion_stream import CompletionStream
from chatkeep.models.malformed import Malformed
from chatkeep.models.port import Finished, Piece, TextDelta, ToolCall
from chatkeep.models.tool_calls import ARGUMENTS_BYTES_MAX, CALLS_MAX, NAME_CHARACTERS_MAX

WEATHER = ToolCall("call_a", "weather", '{"city": "Oslo"}')
TIME = ToolCall("call_b", "time", '{"zone": "CET"}')


def chunk(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"tool_calls": list(calls), **fields}}]}


def call(name: str | None = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {**fields, "function": {key: value for key, value in function.items() if value is not None}}


def heard(*chunks: Any, reason: str = "tool_calls") -> list[Piece]:
    answer = CompletionStream()
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    pieces = [piece for each in (*chunks, end) for piece in answer.take(json.dumps(each).encode())]
    return pieces + answer.finish()


IN_PIECES = {
    "as OpenAI does": [
        chunk(call("weather", "", index=0, id="call_a", type="function"), content=None),
        chunk(call(None, '{"city"', index=0)),
        chunk(call(None, ': "Oslo"}', index=0)),
        chunk(call("time", "", index=1, id="call_b", type="function")),
        chunk(call(None, '{"zone": "CET"}', index=1)),
    ],
    "in turns": [
        chunk(call("weather", '{"city"', index=0, id="call_a"), call("time", '{"zo', index=1, id="call_b")),
        chunk(call(None, 'ne": "CET"}', index=1), call(None, ': "Oslo"}', index=0)),
    ],
    "with the id and the name again and again": [
        chunk(call("weather", '{"city"', index=0, id="call_a")),
        chunk(call("weather", ': "Oslo"}', index=0, id="call_a")),
        chunk(call("time", '{"zone": "CET"}', index=1, id="call_b")),
        chunk(call("time", "", index=1, id="call_b")),
    ],
    "with another id for each piece": [
        chunk(call("weather", '{"city"', index=0, id="call_a")),
        chunk(call(None, ': "Oslo"}', index=0, id="call_x")),
        chunk(call("time", '{"zone": ', index=1, id="call_b")),
        chunk(call(None, '"CET"}', index=1, id="call_y")),
    ],
    "whole": [
        chunk(call("weather", '{"city": "Oslo"}', index=0, id="call_a")),
        chunk(call("time", '{"zone": "CET"}', index=1, id="call_b")),
    ],
    "whole, each numbered 0": [
        chunk(call("weather", '{"city": "Oslo"}', index=0, id="call_a")),
        chunk(call("time", '{"zone": "CET"}', index=0, id="call_b")),
    ],
    "in pieces, each numbered 0": [
        chunk(call("weather", '{"city"', index=0, id="call_a"), call(None, ': "Oslo"}', index=0)),
        chunk(call("time", '{"zone": ', index=0, id="call_b"), call(None, '"CET"}', index=0, id="")),
    ],
    "without numbers": [
        chunk(call("weather", '{"city"', id="call_a")),
        chunk(call(None, ': "Oslo"}')),
        chunk(call("time", '{"zone": ', id="call_b")),
        chunk(call(None, '"CET"}', id=None)),
    ],
    "with arguments as objects": [
        chunk(call("weather", {"city": "Oslo"}, id="call_a"), call("time", {"zone": "CET"}, id="call_b"))
    ],
}


@pytest.mark.parametrize("chunks", IN_PIECES.values(), ids=IN_PIECES.keys())
def test_calls_come_whole_at_the_end(chunks: list[Any]) -> None:
    assert heard(*chunks) == [WEATHER, TIME, Finished(None, "tool_calls")]
    assert heard(*chunks, reason="stop")[:-1] == [WEATHER, TIME], "whatever the end is called"


def test_calls_without_ids_and_numbers_are_told_apart_by_their_names_and_ends() -> None:
    whole = chunk(
        call("weather", '{"city": "Oslo"}'), call("weather", '{"city": "Rome"}'), call("time", "{}")
    )
    assert heard(whole)[:-1] == [
        ToolCall("", "weather", '{"city": "Oslo"}'),
        ToolCall("", "weather", '{"city": "Rome"}'),
        ToolCall("", "time", "{}"),
    ]
    pieces = [chunk(call("weather", part)) for part in ('{"city"', ': "Oslo"}')]
    assert heard(*pieces, chunk(call("time", "")))[:-1] == [
        ToolCall("", "weather", '{"city": "Oslo"}'),
        ToolCall("", "time", "{}"),
    ]


def test_text_before_the_calls_is_the_answers_text() -> None:
    found = heard(chunk(content="Let me see."), *IN_PIECES["whole"])
    assert found == [TextDelta("Let me see."), WEATHER, TIME, Finished(None, "tool_calls")]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_call_that_a_limit_broke_off_is_none(reason: str) -> None:
    whole, half = IN_PIECES["whole"][0], chunk(call("time", '{"zone": "C', index=1, id="call_b"))
    assert heard(whole, half, reason=reason)[:-1] == [WEATHER]
    assert heard(whole, chunk(call("time", "", index=1, id="call_b")), reason=reason)[:-1] == [WEATHER]
    assert heard(*IN_PIECES["whole"], reason=reason)[:-1] == [WEATHER, TIME]


def test_an_answer_that_breaks_off_has_no_calls() -> None:
    answer = CompletionStream()
    for each in IN_PIECES["as OpenAI does"]:
        assert answer.take(json.dumps(each).encode()) == []
    assert answer.has_begun
    with pytest.raises(Malformed):
        answer.finish()


def test_what_is_no_call_is_passed_over() -> None:
    junk = [{"index": 0}, {"function": "x"}, {"function": {"name": 7, "arguments": "{}"}}, "x", None]
    assert heard({"choices": [{"delta": {"tool_calls": junk}}]}) == [Finished(None, "tool_calls")]


def test_what_it_says_is_made_fit_to_store() -> None:
    found = heard(
        chunk(call("we\0ather", '{"a": "\ud83d', index=0, id="c\ud800")),
        chunk(call(None, '\ude00"}', index=0)),
    )
    assert found[0] == ToolCall("c\ufffd", "we\ufffdather", '{"a": "\U0001f600"}')


def test_there_is_a_bound_to_everything() -> None:
    many = [chunk(call("f", "{}", index=number, id=str(number))) for number in range(CALLS_MAX + 1)]
    assert len(heard(*many[:-1])) == CALLS_MAX + 1
    with pytest.raises(Malformed, match="128 calls"):
        heard(*many)
    half = "x" * (ARGUMENTS_BYTES_MAX // 2)
    heard(chunk(call("f", half, index=0)), chunk(call(None, half, index=0)))
    with pytest.raises(Malformed, match="bytes of arguments"):
        heard(chunk(call("f", half, index=0)), chunk(call(None, half + "x", index=0)))
    long = "x" * (NAME_CHARACTERS_MAX + 1)
    for piece in (call(long, "{}", index=0), call("f", "{}", index=0, id=long)):
        with pytest.raises(Malformed, match="characters"):
            heard(chunk(piece))
