"""Tools over the native API: what is offered, what the model calls, what it is told of the results."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.flows.office import Office, events
from tests.flows.test_journal import journal
from tests.upstream import DONE, Raw, Script, call_events, finish_event, text_event

pytestmark = pytest.mark.asyncio(loop_scope="session")
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city now",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "default": None}}},
    },
}
TIME = {"type": "function", "function": {"name": "time"}}
OSLO = ("call_1", "weather", '{"city": "Oslo"}')
ROME = ("call_2", "weather", '{"city": "Rome"}')


def kept(call: tuple[str, str, str]) -> dict[str, Any]:
    """A call as messages have it."""
    return {"id": call[0], "type": "function", "function": {"name": call[1], "arguments": call[2]}}


async def called(office: Office, *calls: tuple[str, str, str], **fields: Any) -> tuple[str, Any]:
    """A chat whose model has answered with these calls; the path to generate, and the answer."""
    chat = await office.chat(**fields)
    office.upstream.play(Script(calls=calls, finish_reason="tool_calls"))
    path = f"/chats/{chat['id']}/generate"
    return path, await office.native("POST", path, message="Weather?", tools=[WEATHER])


async def test_a_call_goes_out_and_its_result_comes_back(office: Office) -> None:
    path, answer = await called(office, OSLO)
    asked = office.upstream.requests[-1]
    assert asked["tools"] == [WEATHER]
    assert "tool_choice" not in asked
    message = answer["message"]
    assert (message["content"], message["status"], message["tool_calls"]) == ("", "complete", [kept(OSLO)])
    assert answer["usage"] is not None
    office.upstream.play(Script(["Sunny."]))
    results = [{"tool_call_id": "call_1", "content": "20 degrees, no clouds"}]
    second = await office.native("POST", path, tool_results=results, tools=[WEATHER], tool_choice="none")
    assert (second["message"]["content"], second["message"]["tool_calls"]) == ("Sunny.", None)
    asked = office.upstream.requests[-1]
    assert asked["tool_choice"] == "none"
    assert asked["messages"] == [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [kept(OSLO)]},
        {"role": "tool", "tool_call_id": "call_1", "content": "20 degrees, no clouds"},
    ]
    read = await office.read(answer["chat_id"])
    assert [each["role"] for each in read["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert read["messages"][1] == {**message, "children_ids": [read["messages"][2]["id"]]}
    assert (read["message_count"], read["status"]) == (3, None)
    assert second["question_id"] == read["messages"][2]["id"]


async def test_results_may_be_appended_first(office: Office) -> None:
    path, answer = await called(office, OSLO, ROME)
    messages = [
        {"role": "tool", "tool_call_id": call[0], "content": f"of {call[0]}"} for call in (ROME, OSLO)
    ]
    await office.native("POST", f"/chats/{answer['chat_id']}/messages", messages=messages[:1])
    problem = await office.refusal(422, "POST", path, body={})
    assert (problem["field"], "call_1" in problem["detail"]) == ("tool_call_id", True)
    await office.native("POST", f"/chats/{answer['chat_id']}/messages", messages=messages[1:])
    await office.ask("POST", path)
    told = office.upstream.requests[-1]["messages"][1:]
    assert told[0]["tool_calls"] == [kept(OSLO), kept(ROME)]
    assert [(each["tool_call_id"], each["content"]) for each in told[1:]] == [
        ("call_1", "of call_1"),
        ("call_2", "of call_2"),
    ]


async def test_calls_are_in_the_journal_with_the_end_and_in_the_stream(office: Office) -> None:
    chat = await office.chat()
    pieces = [*call_events(0, *OSLO[:2], '{"city"', ': "Oslo"}'), *call_events(1, *ROME)]
    office.upstream.play(Raw([text_event("Let me see."), *pieces, finish_event("tool_calls"), DONE]))
    body = {"message": "Weather?", "tools": [WEATHER], "tool_choice": "required", "stream": True}
    response = await office.ask("POST", f"/chats/{chat['id']}/generate", body=body)
    assert office.upstream.requests[-1]["tool_choice"] == "required"
    found = events(response.text)
    plain = [dict(zip(("id", "name", "arguments"), call, strict=True)) for call in (OSLO, ROME)]
    assert [value for name, value in found if name == "tool_call"] == plain
    message = found[-1][1]["message"]
    assert (message["content"], message["tool_calls"]) == ("Let me see.", [kept(OSLO), kept(ROME)])
    told = await journal(office, chat["id"])
    assert [each["type"] for each in told][-3:] == ["run.tool_call", "run.tool_call", "run.completed"]
    assert [each["tool_call"] for each in told[-3:-1]] == plain
    assert told[-1]["message"] == message
    begun = next(each for each in told if each["type"] == "message.created" and each["run_id"])
    assert begun["message"]["tool_calls"] is None, "what was told stays as it was"


async def test_a_stop_in_the_middle_of_a_call_leaves_no_call(office: Office) -> None:
    chat = await office.chat()
    path = f"/chats/{chat['id']}"
    begun = [*call_events(0, *OSLO), *call_events(1, "call_2", "weather", '{"ci')]
    office.upstream.play(Raw([text_event("Let me see."), *begun, None]))
    asking = asyncio.ensure_future(office.native("POST", path + "/generate", message="?", tools=[WEATHER]))
    await office.until_said(chat["id"], "see.")
    await office.native("POST", path + "/stop", run_id=None)
    message = (await asking)["message"]
    assert (message["status"], message["tool_calls"]) == ("incomplete", None)
    assert "run.tool_call" not in {each["type"] for each in await journal(office, chat["id"])}


@pytest.mark.parametrize("failure", ["cut", "error_chunk", "no_finish"])
async def test_a_failure_after_a_call_leaves_no_call(office: Office, failure: Any) -> None:
    chat = await office.chat()
    office.upstream.play(Script(["Hm."], calls=[OSLO], failure=failure))
    await office.refusal(
        502, "POST", f"/chats/{chat['id']}/generate", body={"message": "?", "tools": [WEATHER]}
    )
    last = (await office.settled(chat["id"]))["messages"][-1]
    assert (last["content"], last["status"], last["tool_calls"]) == ("Hm.", "incomplete", None)


async def test_calls_without_ids_get_some_that_can_be_answered(office: Office) -> None:
    path, answer = await called(office, ("", "weather", "{}"), ("", "weather", "{}"))
    ids = [call["id"] for call in answer["message"]["tool_calls"]]
    assert len(set(ids)) == len(ids) == 2
    await office.native("POST", path, tool_results=[{"tool_call_id": each, "content": "x"} for each in ids])
    assert len(office.upstream.requests[-1]["messages"]) == 4


async def test_a_question_instead_of_results_goes_on_without_the_calls(office: Office) -> None:
    path, _ = await called(office, OSLO, ROME)
    await office.native("POST", path, message="Never mind.")
    assert [each["role"] for each in office.upstream.requests[-1]["messages"]] == ["user", "user"]
    office.upstream.play(Script(["Hm."], calls=[OSLO], finish_reason="tool_calls"))
    await office.native("POST", path, message="Again", tools=[WEATHER])
    results = [{"tool_call_id": "call_1", "content": "x"}]
    await office.native("POST", path, tool_results=results, message="And tell me why.")
    turns = office.upstream.requests[-1]["messages"]
    assert [each["role"] for each in turns[-4:]] == ["user", "assistant", "tool", "user"]


async def test_a_model_that_takes_no_tools_is_offered_none(office: Office) -> None:
    model = (await office.native("GET", "/models"))["items"][0]
    card = {"display_name": "plain", "context_window": 4096, "parent_model_id": model["id"]}
    plain = await office.native("POST", "/models", **card, supports_tools=False)
    path, answer = await called(office, OSLO)
    result: dict[str, Any] = {"tool_results": [{"tool_call_id": "call_1", "content": "x"}]}
    for body in ({"message": "x", "tools": [WEATHER]}, result):
        problem = await office.refusal(422, "POST", path, body={**body, "model_id": plain["id"]})
        assert problem["field"] == "tools"
    await office.native("POST", path, **result)
    await office.native("POST", path, message="Go on", model_id=plain["id"])
    asked = office.upstream.requests[-1]["messages"]
    assert [each["role"] for each in asked] == ["user", "assistant", "user"]
    assert (await office.read(answer["chat_id"]))["model_id"] == plain["id"]


async def test_answers_may_be_given_again_and_be_edited_with_tools(office: Office) -> None:
    _, answer = await called(office, OSLO)
    chat = f"/chats/{answer['chat_id']}"
    asking: list[tuple[str, dict[str, Any]]] = [
        (f"{chat}/regenerate", {}),
        (f"{chat}/messages/{answer['question_id']}/edit", {"content": "Time?"}),
        (f"{chat}/continue", {}),
    ]
    for path, body in asking:
        office.upstream.play(Script(["Hm."], calls=[ROME], finish_reason="tool_calls"))
        again = await office.native("POST", path, tools=[TIME, WEATHER], tool_choice=choice("time"), **body)
        assert kept(ROME) in again["message"]["tool_calls"]
        asked = office.upstream.requests[-1]
        assert (asked["tools"], asked["tool_choice"]) == ([TIME, WEATHER], choice("time"))


async def test_asked_twice_with_one_key_it_is_done_once(office: Office) -> None:
    path, answer = await called(office, OSLO)
    body = {"tool_results": [{"tool_call_id": "call_1", "content": "x"}], "tools": [WEATHER]}
    office.upstream.play(Script(calls=[ROME], finish_reason="tool_calls"))
    key = {"Idempotency-Key": "again"}
    first, second = [await office.ask("POST", path, headers=key, body=body) for _ in range(2)]
    assert first.json() == second.json()
    assert first.json()["message"]["tool_calls"] == [kept(ROME)]
    assert len((await office.read(answer["chat_id"]))["messages"]) == 4


def choice(name: str) -> dict[str, Any]:
    """The wish that this tool be called."""
    return {"type": "function", "function": {"name": name}}


def tool(**fields: Any) -> dict[str, Any]:
    """A tool with other fields."""
    return {"type": "function", "function": {**WEATHER["function"], **fields}}  # type: ignore[dict-item]  # JSON


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"tools": [tool(name="no blanks")]}, "tools.0.function.name"),
    ({"tools": [tool(name="x" * 65)]}, "tools.0.function.name"),
    ({"tools": [tool(parameters="x")]}, "tools.0.function.parameters"),
    ({"tools": [tool(other=1)]}, "tools.0.function.other"),
    ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
    ({"tools": [tool(name=f"f{number}") for number in range(129)]}, "tools"),
    ({"tools": [tool(description="x" * 131_072)]}, "tools"),
    ({"tools": [WEATHER, WEATHER]}, "tools"),
    ({"tools": [WEATHER], "tool_choice": "always"}, "tool_choice"),
    ({"tools": [WEATHER], "tool_choice": choice("time")}, "tool_choice"),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"tools": [], "tool_choice": "none"}, "tool_choice"),
    ({"tool_results": [{"tool_call_id": "call_9", "content": "x"}], "message": None}, "tool_call_id"),
    ({"tool_results": [{"tool_call_id": "", "content": "x"}]}, "tool_results.0.tool_call_id"),
    ({"tool_results": [{"tool_call_id": "call_1"}]}, "tool_results.0.content"),
    ({"tool_results": [{"tool_call_id": "call_1", "content": "x" * 100_001}]}, "tool_results.0.content"),
]


@pytest.mark.parametrize(("body", "field"), REFUSED, ids=lambda value: str(value)[:60])
async def test_what_breaks_a_rule_is_refused_and_nothing_is_said(
    office: Office, body: dict[str, Any], field: str
) -> None:
    path, answer = await called(office, OSLO)
    seen, before = len(office.upstream.requests), await office.read(answer["chat_id"])
    problem = await office.refusal(422, "POST", path, body={"message": "x", **body})
    assert problem["field"].startswith(field), problem
    assert await office.read(answer["chat_id"]) == before
    assert len(office.upstream.requests) == seen
