"""Asking over Cuadra's API: waiting and streaming, what is refused, failures, disconnects, Idempotency-Key."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from chatkeep.domain.limits import Limits
from tests.flows.cuadra_client import (
    ask,
    check_problem,
    chunks,
    get,
    model_of,
    post,
    roles_and_texts,
    token,
    until_idle,
)
from tests.unit.edge.serving import running, with_lifespan
from tests.upstream import DONE, Raw, Script, finish_event, text_event, usage_event
from tests.world import World

SLOW = Raw(
    [text_event("Gru"), text_event("ez"), None, text_event("i"), finish_event(), usage_event(3, 2), DONE]
)
ONCE = {"Idempotency-Key": "key-1"}


async def test_a_stream_to_the_letter(world: World) -> None:
    headers = await token(world)
    chat_id = (await ask(world, headers))["id"]
    world.upstream.play(Script(["Gruezi"], usage=(3, 2)))
    response = await post(world, headers, chatId=chat_id, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["location"] == f"/v1/chats/{chat_id}"
    assert "content-encoding" not in response.headers
    events = (
        f'data: {{"id":"{chat_id}","delta":"Gruezi","finished":false}}\n\n'
        f'data: {{"id":"{chat_id}","delta":"","finished":true,'
        '"usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5}}\n\n'
        "data: [DONE]\n\n"
    )
    assert response.text == events
    chat = await get(world, headers, f"/v1/chats/{chat_id}")
    assert [message["content"] for message in chat["messages"]][2:] == ["Hi", "Gruezi"]
    assert chat["messages"][3]["tokenCount"] == 2


async def test_the_cost_stands_in_the_answer_and_in_the_streams_last_chunk(world: World) -> None:
    world.upstream.play(*[Script(["Gruezi"], usage=(3, 2), cost=0.0015)] * 2)
    usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5, "cost": "0.0015"}
    answer = await ask(world, world.owner.bearer)
    assert (answer["usage"], answer["message"]["cost"]) == (usage, "0.0015")
    response = await post(world, world.owner.bearer, chatId=answer["id"], stream=True)
    assert chunks(response.content)[-1]["usage"] == usage
    chat = await get(world, world.owner.bearer, f"/v1/chats/{answer['id']}")
    assert [message["cost"] for message in chat["messages"]] == [None, "0.0015"] * 2


async def test_a_stream_starts_a_chat_and_thinks_first(world: World) -> None:
    world.upstream.play(Script(["Yes\n\ndata: x"], reasoning=["Hmm"], usage=None))
    response = await post(world, world.owner.bearer, stream=True, modelId=await model_of(world))
    found = chunks(response.content)
    chat_id = response.headers["location"].rpartition("/")[2]
    assert found == [
        {"id": chat_id, "delta": "", "reasoning": "Hmm", "finished": False},
        {"id": chat_id, "delta": "Yes\n\ndata: x", "finished": False},
        {"id": chat_id, "delta": "", "finished": True, "usage": None},
    ]
    assert await roles_and_texts(world, chat_id) == [("user", "Hi"), ("assistant", "Yes\n\ndata: x")]


async def test_while_it_is_generated_the_chat_says_so(world: World) -> None:
    headers = await token(world)
    chat_id = (await ask(world, headers))["id"]
    world.upstream.play(SLOW)
    streaming = asyncio.create_task(post(world, headers, "Again", chatId=chat_id, stream=True))
    await world.upstream.until_requests(2)
    chat = await get(world, headers, f"/v1/chats/{chat_id}")
    assert chat["status"] == "generating"
    assert chat["messages"][2]["content"] == "Again"
    assert (await get(world, headers, "/v1/chats"))["items"][0]["status"] == "generating"
    busy = await post(world, headers, chatId=chat_id)
    check_problem(busy, 409, "Conflict", "An answer is being generated in this chat.")
    world.upstream.go_on()
    assert "".join(chunk["delta"] for chunk in chunks((await streaming).content)) == "Gruezi"
    assert (await get(world, headers, f"/v1/chats/{chat_id}"))["status"] is None


async def test_a_cut_connection_does_not_stop_the_answer(world: World) -> None:
    world.upstream.play(SLOW)
    body = b'{"messages":[{"role":"user","content":"Hi"}],"stream":true}'
    async with running(with_lifespan(world.server.edge), Limits()) as served:
        reader, writer = await served.connect()
        head = (
            f"POST /v1/chats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.owner.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        received = await reader.readuntil(b'ez","finished":false}\n\n')
        writer.transport.abort()
        path = next(
            line for line in received.decode().split("\r\n") if line.startswith("location: ")
        ).split()[1]
        await asyncio.wait(served.server.server_state.tasks)
        assert (await get(world, world.owner.bearer, path))["status"] == "generating"
        world.upstream.go_on()
        await until_idle(world)
        chat = await get(world, world.owner.bearer, path)
    assert chat["status"] is None
    assert chat["messages"][1]["content"] == "Gruezi"
    assert world.upstream.disconnects == 0


async def test_a_failing_model_ends_the_stream_with_an_error(world: World) -> None:
    headers = await token(world)
    world.upstream.play(Script(["Half an"], failure="error_chunk"))
    response = await post(world, headers, stream=True)
    *pieces, last = chunks(response.content)
    assert [piece["delta"] for piece in pieces] == ["Half an"]
    assert (last["finished"], last["delta"], last["usage"]) == (True, "", None)
    assert last["error"]["code"] == "service_error"
    path = f"/v1/chats/{last['id']}"
    chat = await get(world, headers, path)
    assert (chat["status"], chat["lastError"]) == ("error", last["error"]["message"])
    assert chat["lastErrorAt"] == chat["updatedAt"]
    assert [message["content"] for message in chat["messages"]] == ["Hi", "Half an"]
    assert (await get(world, headers, "/v1/chats"))["items"][0]["status"] == "error"
    await ask(world, headers, chatId=last["id"])
    chat = await get(world, headers, path)
    assert (chat["status"], chat["lastError"], chat["lastErrorAt"]) == (None, None, None)


async def test_a_failing_model_is_a_bad_gateway_for_who_waits(world: World) -> None:
    headers = await token(world)
    world.upstream.play(Script(failure="error_chunk"))
    response = await post(world, headers)
    check_problem(response, 502, "Bad Gateway")
    chat = await get(world, headers, response.headers["location"])
    assert (chat["status"], chat["lastError"]) == ("error", response.json()["detail"])
    assert [message["role"] for message in chat["messages"]] == ["user"]


async def test_unknown_models_are_not_found(world: World) -> None:
    stranger = await world.organisation()
    foreign = (await world.native("GET", "/models", stranger))["items"][0]["id"]
    for model_id in ("nope", "", "a b", foreign):
        response = await post(world, world.owner.bearer, modelId=model_id)
        check_problem(response, 404, "Not Found", "Model not found.")
    assert (await get(world, world.owner.bearer, "/v1/chats"))["totalCount"] == 0


USER = {"role": "user", "content": "Hi"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "messages: "),
    ({"messages": []}, "messages: "),
    ({"messages": "Hi"}, "messages: "),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: "),
    ({"messages": [{"role": "user"}]}, "messages.0: "),
    ({"messages": [{"role": "user", "content": ""}]}, "messages.0: "),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content: "),
    ({"messages": [{"role": "user", "content": "x" * 100_001}]}, "messages.0.content: "),
    ({"messages": [USER, {"role": "tool", "content": "x"}]}, "messages.1: toolCallId"),
    ({"messages": [USER, {"role": "tool", "content": "x", "toolCallId": "c"}]}, "toolCallId: "),
    (
        {
            "messages": [
                {
                    **USER,
                    "toolCalls": [
                        {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
                    ],
                }
            ]
        },
        "messages.0: only an assistant",
    ),
    ({"messages": [{"role": "assistant", "toolCalls": [{}]}]}, "messages.0.toolCalls.0.id: "),
    ({"messages": [USER], "maxTokens": 0}, "maxTokens: "),
    ({"messages": [USER], "maxTokens": 32_001}, "maxTokens: "),
    ({"messages": [USER], "maxTokens": "5"}, "maxTokens: "),
    ({"messages": [USER], "temperature": "hot"}, "temperature: "),
    ({"messages": [USER], "temperature": 2.1}, "temperature: "),
    ({"messages": [USER], "stream": 1}, "stream: "),
    ({"messages": [USER], "ephemeral": "yes"}, "ephemeral: "),
    ({"messages": [USER], "chatId": 5}, "chatId: "),
    ({"messages": [USER], "modelId": 5}, "modelId: "),
    ({"messages": [USER], "systemPrompt": "a", "system_prompt": "a"}, "body: give systemPrompt or"),
    ({"messages": [USER], "systemPrompt": "p" * 100_001}, "systemPrompt: "),
    ({"messages": [USER], "max_tokens": 5}, "max_tokens: "),
    ({"messages": [USER], "tools": [{"type": "function"}]}, "tools.0.function: "),
    ({"messages": [USER], "tools": [{"name": "flat"}]}, "tools.0.type: "),
    (
        {"messages": [USER], "tools": [{"type": "function", "function": {"name": "a b"}}]},
        "tools.0.function.name: ",
    ),
    ({"messages": [USER], "responseFormat": {"type": "json_schema"}}, "responseFormat: is not served yet"),
    ({"messages": [USER], "fileIds": ["f"]}, "fileIds: is not served yet"),
    ({"messages": [USER], "enableReasoning": True}, "enableReasoning: is not served yet"),
    ({"messages": [USER], "enableArtifacts": True}, "enableArtifacts: is not served yet"),
]


async def test_what_is_refused_writes_nothing(world: World) -> None:
    for body, start in REFUSED:
        response = await world.client.post("/v1/chats", headers=world.owner.bearer, json=body)
        check_problem(response, 422, "Validation error")
        assert response.json()["detail"].startswith(start), (start, response.json())
    ai_sdk = {**world.owner.bearer, "X-Stream-Format": "ai-sdk"}
    response = await post(world, ai_sdk, stream=True)
    check_problem(response, 422, "Validation error")
    assert response.json()["detail"].startswith("X-Stream-Format: is not served yet")
    assert (await get(world, world.owner.bearer, "/v1/chats"))["totalCount"] == 0
    assert world.upstream.requests == []


async def test_a_tool_is_called_and_its_result_acknowledged(world: World) -> None:
    """As the kit does: the call comes by stream, the result goes back waiting, alone and under a key."""
    headers = world.owner.bearer
    tool = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
    call = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": '{"tz": "UTC"}'}}
    played = Script(calls=[("c1", "clock", '{"tz": "UTC"}')], finish_reason="tool_calls", usage=(3, 2))
    world.upstream.play(played, Script(["Noon."]))
    response = await post(world, {**headers, **ONCE}, "What time is it?", tools=[tool], stream=True)
    assert world.upstream.requests[-1]["tools"] == [tool]
    *_, called, last = found = chunks(response.content)
    chat_id = last["id"]
    assert called == {"id": chat_id, "delta": "", "toolCalls": [{"index": 0, **call}], "finished": False}
    again = await post(world, {**headers, **ONCE}, "What time is it?", tools=[tool], stream=True)
    assert chunks(again.content) == found
    body = {"chatId": chat_id, "messages": [{"role": "tool", "content": '{"ok":true}', "toolCallId": "c1"}]}
    key = {"Idempotency-Key": "key-2"}
    acknowledged = await world.client.post("/v1/chats", headers={**headers, **key}, json=body)
    assert acknowledged.json()["message"]["content"] == "Noon."
    asked = world.upstream.requests[-1]["messages"]
    assert [each["role"] for each in asked] == ["user", "assistant", "tool"]
    told = (await get(world, headers, f"/v1/chats/{chat_id}"))["messages"]
    assert (told[1]["content"], told[1]["toolCalls"]) == (None, [call])
    assert (told[2]["content"], told[2]["toolCallId"]) == ('{"ok":true}', "c1")


async def test_what_asks_for_nothing_is_taken(world: World) -> None:
    nothing: dict[str, Any] = {
        "chatId": None,
        "modelId": None,
        "systemPrompt": None,
        "ephemeral": False,
        "stream": False,
        "maxTokens": None,
        "temperature": None,
        "responseFormat": None,
        "enableReasoning": False,
        "reasoningBudget": 10_000,
        "enableArtifacts": False,
        "fileIds": [],
        "tools": [],
    }
    assert (await ask(world, world.owner.bearer, **nothing))["message"]["content"] == "You said: Hi"
    asked = world.upstream.requests[0]
    assert "max_tokens" not in asked
    await ask(world, world.owner.bearer, maxTokens=32_000, temperature=1)
    assert world.upstream.requests[1]["max_tokens"] == 32_000
    assert world.upstream.requests[1]["temperature"] == 1


async def test_without_any_model_nothing_is_written(world: World) -> None:
    (model,) = (await world.native("GET", "/models"))["items"]
    card = {"display_name": "off", "context_window": 10, "provider": model["provider"], "enabled": False}
    await world.native("PUT", f"/models/{model['id']}", model_name=model["model_name"], **card)
    for stream in (False, True):
        check_problem(await post(world, world.owner.bearer, stream=stream), 503, "Service Unavailable")
    assert (await get(world, world.owner.bearer, "/v1/chats"))["totalCount"] == 0


async def test_too_many_answers_at_once(world: World) -> None:
    most = world.system.limits.runs_per_organisation_max
    world.upstream.play(*[SLOW] * most)
    asked = [asyncio.create_task(post(world, world.owner.bearer)) for _ in range(most)]
    await world.upstream.until_requests(most)
    response = await post(world, world.owner.bearer)
    check_problem(response, 429, "Too Many Requests")
    assert int(response.headers["retry-after"]) > 0
    assert response.headers["x-ratelimit-remaining"] == "0"
    for _ in range(most):
        world.upstream.go_on()
    assert {each.status_code for each in await asyncio.gather(*asked)} == {200}


@pytest.mark.parametrize("stream", [False, True])
async def test_one_key_is_one_answer(world: World, stream: bool) -> None:
    headers = {**world.owner.bearer, **ONCE}
    first = await post(world, headers, "Once", stream=stream)
    again = await post(world, headers, "Once", stream=stream)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    kind = first.headers["content-type"].partition(";")[0]
    assert again.headers["content-type"].partition(";")[0] == kind
    if stream:
        assert _whole(again) == _whole(first)
    else:
        assert again.content == first.content
    assert len(world.upstream.requests) == 1
    other = await post(world, headers, "Another", stream=stream)
    check_problem(
        other, 422, "Validation error", "This Idempotency-Key was used before with a different request."
    )
    assert (await get(world, world.owner.bearer, "/v1/chats"))["totalCount"] == 1


def _whole(response: httpx.Response) -> tuple[str, Any]:
    found = chunks(response.content)
    return "".join(chunk["delta"] for chunk in found), found[-1]


async def test_a_key_remembers_failures_and_changes_too(world: World) -> None:
    headers = {**world.owner.bearer, **ONCE}
    world.upstream.play(Script(failure="error_chunk"))
    first = await post(world, headers)
    again = await post(world, headers)
    check_problem(again, 502, "Bad Gateway", first.json()["detail"])
    assert again.content == first.content
    path = first.headers["location"]
    changed = await world.client.patch(path, headers=headers, json={"title": "T"})
    await world.client.patch(path, headers=world.owner.bearer, json={"title": "U"})
    assert (await world.client.patch(path, headers=headers, json={"title": "T"})).content == changed.content
    assert (await get(world, world.owner.bearer, path))["title"] == "U"
    for _ in range(2):
        assert (await world.client.delete(path, headers=headers)).status_code == 204
    check_problem(await world.client.delete(path, headers=world.owner.bearer), 404, "Not Found")
