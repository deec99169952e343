"""Whole stories over Synthflow's API: sessions with agents, how they end, and the other dialects' view."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.flows.synthflow_client import (
    CHAT,
    GREETING,
    SESSION,
    add_agent,
    agent_of,
    ask,
    opened,
    said,
    session_of,
)
from tests.upstream import DONE, Raw, Refusal, Script, finish_event, text_event
from tests.world import World


async def test_a_session_with_an_agent(world: World) -> None:
    agent = await agent_of(world)
    made = await ask(world, "POST", CHAT, json={"model_id": agent, "metadata": {"crm": {"id": 7}}})
    assert made.status_code == 200
    chat = made.json()["response"]
    greeted_at = chat["conversation_history"][0]["timestamp"]
    assert made.json() == {
        "status": "ok",
        "response": {
            "chat_id": SESSION,
            "chat_status": "ongoing",
            "conversation_history": [
                {
                    "agent_id": agent,
                    "current_state": "greeting_state",
                    "message": GREETING,
                    "timestamp": greeted_at,
                    "turn_number": 1,
                }
            ],
            "initial_message": {
                "agent_message": GREETING,
                "current_state": "greeting_state",
                "timestamp": greeted_at,
                "turn_number": 1,
            },
            "start_timestamp": chat["start_timestamp"],
            "transcript": f"Agent: {GREETING}",
            "fsm_log": None,
        },
    }
    assert chat["start_timestamp"] < greeted_at

    world.upstream.play(Script(["Two ", "words"]))
    answer = await said(world, "hello")
    assert answer == {
        "agent_message": "Two words",
        "current_state": "main_state",
        "timestamp": answer["timestamp"],
        "turn_number": 3,
    }
    assert (await said(world, "and now?"))["turn_number"] == 5

    read = await session_of(world)
    history = read["conversation_history"]
    assert [(row["turn_number"], row["agent_id"], row["current_state"]) for row in history] == [
        (1, agent, "greeting_state"),
        (2, "user", "greeting_state"),
        (3, agent, "main_state"),
        (4, "user", "main_state"),
        (5, agent, "main_state"),
    ]
    assert read["transcript"] == "\n".join(
        f"{'User' if row['agent_id'] == 'user' else 'Agent'}: {row['message']}" for row in history
    )
    assert read["transcript"].startswith(
        f"Agent: {GREETING}\nUser: hello\nAgent: Two words\nUser: and now?\n"
    )
    assert history[2]["timestamp"] == answer["timestamp"]
    assert [row["timestamp"] for row in history] == sorted(row["timestamp"] for row in history)
    assert read["initial_message"] == chat["initial_message"]

    asked = world.upstream.requests[-1]["messages"]
    assert [turn["role"] for turn in asked] == ["system", "assistant", "user", "assistant", "user"]
    assert asked[0]["content"].startswith("You are a helpful assistant")


async def test_an_agent_that_lets_the_person_speak_first(world: World) -> None:
    agent = await add_agent(world, "listener", "human")
    made = await opened(world, model_id=agent)
    assert (made["initial_message"], made["transcript"], made["conversation_history"]) == (None, "", [])
    assert (await said(world, "Hello"))["turn_number"] == 2
    read = await session_of(world)
    states = [(row["agent_id"], row["current_state"]) for row in read["conversation_history"]]
    assert states == [("user", "greeting_state"), (agent, "main_state")]
    assert read["initial_message"] is None


async def test_the_same_create_again_is_the_same_chat(world: World) -> None:
    first = await opened(world, metadata={"a": 1})
    assert await opened(world, metadata={"a": 2}) == first
    await said(world, "hello")
    again = await opened(world)
    assert len(again["conversation_history"]) == 3
    assert (await world.native("GET", f"/chats/{SESSION}"))["metadata"] == {"a": 1}


async def test_two_organisations_may_use_the_same_uuid(world: World) -> None:
    await opened(world)
    other = await world.organisation()
    body = {"model_id": await agent_of(world, other)}
    assert (await ask(world, "POST", CHAT, other, json=body)).status_code == 200
    assert (await ask(world, "DELETE", CHAT, other)).status_code == 200
    assert (await session_of(world))["chat_id"] == SESSION


@pytest.mark.parametrize("state", ["completed", "cancelled"])
async def test_an_ended_session_takes_nothing_more(world: World, state: str) -> None:
    await opened(world)
    await world.native("PATCH", f"/chats/{SESSION}", session_state=state)
    refused = await ask(world, "POST", f"{CHAT}/messages", json={"message": "still there?"})
    assert refused.status_code == 400
    assert state in refused.json()["detail"]
    read = await session_of(world)
    assert (read["chat_status"], len(read["conversation_history"])) == (state, 1)


async def test_delete_is_for_good_and_frees_the_uuid(world: World) -> None:
    await opened(world)
    await said(world, "hello")
    etag = (await ask(world, "GET", CHAT)).headers["etag"]
    gone = await ask(world, "DELETE", CHAT)
    assert (gone.status_code, gone.json()) == (200, {"status": "ok"})
    assert [(await ask(world, method, CHAT)).status_code for method in ("GET", "DELETE")] == [404, 404]
    assert (await world.native("GET", "/chats?deleted=true"))["items"] == []
    anew = await opened(world)
    assert len(anew["conversation_history"]) == 1
    assert (await ask(world, "GET", CHAT, headers={"If-None-Match": etag})).status_code == 200


async def test_a_provider_that_fails_leaves_the_message_and_the_reason(world: World) -> None:
    await opened(world)
    world.upstream.play(Refusal(500, "out of order"))
    failed = await ask(world, "POST", f"{CHAT}/messages", json={"message": "hello"})
    assert failed.status_code == 502
    native = await world.native("GET", f"/chats/{SESSION}")
    assert native["status"] == "error"
    assert failed.json() == {"detail": native["last_error"]}
    history = (await session_of(world))["conversation_history"]
    assert [(row["message"], row["current_state"]) for row in history] == [
        (GREETING, "greeting_state"),
        ("hello", "greeting_state"),
    ]
    recovered = await said(world, "hello?")
    assert (recovered["turn_number"], recovered["current_state"]) == (4, "main_state")
    assert (await session_of(world))["conversation_history"][2]["current_state"] == "greeting_state"
    assert (await world.native("GET", f"/chats/{SESSION}"))["status"] is None


async def test_what_was_said_before_the_provider_broke_off_is_history(world: World) -> None:
    await opened(world)
    world.upstream.play(Script(["Half an ", "ans"], failure="cut"))
    assert (await ask(world, "POST", f"{CHAT}/messages", json={"message": "hello"})).status_code == 502
    last = (await session_of(world))["conversation_history"][-1]
    assert (last["message"], last["current_state"], last["turn_number"]) == ("Half an ans", "main_state", 3)


async def test_a_second_message_during_an_answer_is_told_to_wait(world: World) -> None:
    await opened(world)
    world.upstream.play(Raw([text_event("one"), None, finish_event(), DONE]))
    first = asyncio.create_task(said(world, "first"))
    await world.upstream.until_requests(1)
    second = await ask(world, "POST", f"{CHAT}/messages", json={"message": "second"})
    assert (second.status_code, second.headers["retry-after"]) == (429, "1")
    assert second.json() == {"detail": "An answer is being generated in this chat."}
    assert (await session_of(world))["chat_status"] == "ongoing"
    world.upstream.go_on()
    assert (await first)["agent_message"] == "one"
    assert len((await session_of(world))["conversation_history"]) == 3


async def test_a_chat_deleted_during_its_answer_is_gone(world: World) -> None:
    await opened(world)
    world.upstream.play(Raw([text_event("one"), None, finish_event(), DONE]))
    message = {"message": "first"}
    waiting = asyncio.create_task(ask(world, "POST", f"{CHAT}/messages", json=message))
    await world.upstream.until_requests(1)
    assert (await ask(world, "DELETE", CHAT)).status_code == 200
    world.upstream.go_on()
    assert (await waiting).status_code == 404


async def test_a_send_with_an_idempotency_key_has_one_effect(world: World) -> None:
    await opened(world)
    options: dict[str, Any] = {"json": {"message": "hello"}, "headers": {"Idempotency-Key": "k1"}}
    first = await ask(world, "POST", f"{CHAT}/messages", **options)
    again = await ask(world, "POST", f"{CHAT}/messages", **options)
    assert first.content == again.content
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await session_of(world))["conversation_history"]) == 3
    options["json"] = {"message": "something else"}
    assert (await ask(world, "POST", f"{CHAT}/messages", **options)).status_code == 400


async def test_both_doors_and_both_ways_through_the_server_answer_alike(world: World) -> None:
    await opened(world)
    hot = await ask(world, "GET", CHAT)
    assert (await ask(world, "GET", f"/synthflow{CHAT}")).content == hot.content
    assert (await ask(world, "GET", f"/v2/chat/{SESSION.upper()}")).content == hot.content
    app = world.server.edge._dialects["synthflow"].app
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app.test") as client:
        cold = await client.get(CHAT, headers=world.owner.bearer)
        malformed = await client.get("/v2/chat/x", headers=world.owner.bearer)
    assert (cold.content, cold.headers["etag"]) == (hot.content, hot.headers["etag"])
    assert malformed.content == (await ask(world, "GET", "/v2/chat/x")).content


async def test_an_unchanged_chat_is_not_sent_again(world: World) -> None:
    await opened(world)
    etag = (await ask(world, "GET", CHAT)).headers["etag"]
    same = await ask(world, "GET", CHAT, headers={"If-None-Match": etag})
    assert (same.status_code, same.content) == (304, b"")
    await said(world, "hello")
    assert (await ask(world, "GET", CHAT, headers={"If-None-Match": etag})).status_code == 200


async def test_agents_are_listed(world: World) -> None:
    await add_agent(world, "second")
    await add_agent(world, "third", "human")
    listed = await ask(world, "GET", "/v2/assistants/")
    assert listed.json()["status"] == "ok"
    assert listed.json()["response"]["pagination"] == {"total_records": 3, "limit": 20, "offset": 0}
    first, _, third = listed.json()["response"]["assistants"]
    assert first["name"] == "Assistant"
    assert first["type"] == "widget"
    assert first["agent"] == {
        "prompt": "You are a helpful assistant. Answer briefly and truthfully.",
        "greeting_message": GREETING,
        "greeting_message_mode": "agent_static",
    }
    assert third["agent"]["greeting_message_mode"] == "human"
    assert (await ask(world, "GET", "/v2/assistants")).content == listed.content
    page = (await ask(world, "GET", "/v2/assistants/?limit=1&offset=1")).json()["response"]
    assert page["pagination"] == {"total_records": 3, "limit": 1, "offset": 1}
    assert [each["model_id"] for each in page["assistants"]] == ["second"]
    elsewhere = (await ask(world, "GET", "/v2/assistants/", await world.organisation())).json()["response"]
    assert [each["name"] for each in elsewhere["assistants"]] == ["Assistant"]
    assert elsewhere["assistants"][0]["model_id"] != first["model_id"]
    for query in ("limit=0", "limit=101", "offset=-1", "offset=99999999999999999999", "limit=x"):
        assert (await ask(world, "GET", f"/v2/assistants/?{query}")).status_code == 400


async def test_a_session_reads_the_same_in_native(world: World) -> None:
    agent = await agent_of(world)
    await opened(world, metadata={"crm": {"id": 7}})
    await said(world, "hello")
    ours, theirs = await session_of(world), await world.native("GET", f"/chats/{SESSION}")
    assert [(m["role"], m["content"], m["created_at"], m["state_id"]) for m in theirs["messages"]] == [
        (
            "user" if row["agent_id"] == "user" else "assistant",
            row["message"],
            row["timestamp"],
            row["current_state"],
        )
        for row in ours["conversation_history"]
    ]
    assert (theirs["dialect"], theirs["agent_id"], theirs["title"]) == ("synthflow", agent, "hello")
    assert theirs["metadata"] == {"crm": {"id": 7}}
    assert theirs["created_at"] == ours["start_timestamp"]
    assert theirs["messages"][1]["author_id"] == world.owner.principal_id
    assert "metadata" not in ours


async def test_a_native_chat_reads_and_goes_on(world: World) -> None:
    made = await world.native(
        "POST",
        "/chats",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
        ],
    )
    read = await session_of(world, made["id"])
    assert (read["chat_id"], read["start_timestamp"]) == (made["id"], made["created_at"])
    assert read["transcript"] == "User: Hello\nAgent: Hi"
    assert read["initial_message"] is None
    rows = [
        (row["agent_id"], row["current_state"], row["turn_number"]) for row in read["conversation_history"]
    ]
    assert rows == [("user", "main_state", 1), (made["model_id"], "main_state", 2)]
    answer = await said(world, "More", made["id"])
    assert (answer["turn_number"], answer["current_state"]) == (4, "main_state")
    native = await world.native("GET", f"/chats/{made['id']}")
    assert [m["state_id"] for m in native["messages"]] == [None] * 5


async def test_what_native_says_in_a_session_is_heard(world: World) -> None:
    await opened(world)
    await world.native("POST", f"/chats/{SESSION}/generate", message="from elsewhere")
    await said(world, "from here")
    rows = (await session_of(world))["conversation_history"]
    assert [row["current_state"] for row in rows] == ["greeting_state", *["main_state"] * 4]
    assert [row["turn_number"] for row in rows] == [1, 2, 3, 4, 5]
