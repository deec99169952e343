"""Answers over the native API: waiting for one, reading it as a stream, and everything that can go wrong with it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from chatkeep.domain.limits import Limits
from tests.flows.office import Office, events
from tests.unit.edge.serving import running, with_lifespan
from tests.upstream import DONE, Raw, Refusal, Script, finish_event, text_event
from tests.world import NATIVE

pytestmark = pytest.mark.asyncio(loop_scope="session")
HELD = Raw([text_event("Wait"), None, text_event(" over"), finish_event(), DONE])


async def begun(office: Office, chat: Any, text: str = "Question") -> asyncio.Task[Any]:
    """A generate under way, whose question has reached the model."""
    seen = len(office.upstream.requests)
    task = asyncio.ensure_future(office.ask("POST", f"/chats/{chat['id']}/generate", body={"message": text}))
    await office.upstream.until_requests(seen + 1)
    return task


async def test_an_answer_has_its_model_time_and_tokens(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(Script(["Hel", "lo"], usage=(7, 5)))
    answer = await office.native("POST", f"/chats/{chat['id']}/generate", message="Hi")
    message = answer["message"]
    assert (message["role"], message["content"], message["status"]) == ("assistant", "Hello", "complete")
    assert (message["input_tokens"], message["output_tokens"]) == (7, 5)
    assert answer["usage"] == {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12, "cost": None}
    assert message["model_id"] == chat["model_id"]
    assert message["response_time_ms"] >= 0
    assert message["author_id"] is None
    assert message["parent_id"] == answer["question_id"]
    read = await office.read(chat["id"])
    assert read["messages"][1] == {**message, "children_ids": []}
    assert (read["status"], read["message_count"], read["title"]) == (None, 2, "A chat")


async def test_a_stream_has_run_deltas_reasoning_and_a_last_event(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(Script(["Hel", "lo"], reasoning=["let me ", "think"]))
    response = await office.ask(
        "POST", f"/chats/{chat['id']}/generate", body={"message": "Hi", "stream": True}
    )
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    found = events(response.text)
    names = [name for name, _ in found]
    assert (names[0], names[-1]) == ("run", "done")
    assert sorted(names[1:-1], reverse=True) == names[1:-1], "first it thinks, then it speaks"
    said = {name: "".join(value["text"] for each, value in found if each == name) for name in names[1:-1]}
    assert said == {"reasoning": "let me think", "delta": "Hello"}
    run, done = found[0][1], found[-1][1]
    assert {name: done[name] for name in run} == run
    read = await office.settled(chat["id"])
    assert read["messages"][0]["id"] == run["question_id"]
    assert read["messages"][1] == {**done["message"], "children_ids": []}


async def test_deltas_arrive_while_the_model_still_speaks(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(HELD)
    async with (
        running(with_lifespan(office.server.edge), Limits()) as socket,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{socket.port}", headers=office.owner.bearer) as client,
        client.stream(
            "POST", f"{NATIVE}/chats/{chat['id']}/generate", json={"message": "Hi", "stream": True}
        ) as response,
    ):
        pieces = response.aiter_text()
        text = ""
        while '"Wait"' not in text:
            text += await anext(pieces)
        assert "done" not in text
        assert (await office.read(chat["id"]))["status"] == "generating"
        office.upstream.go_on()
        text += "".join([piece async for piece in pieces])
    assert events(text)[-1][1]["message"]["content"] == "Wait over"


async def test_a_client_that_goes_away_does_not_stop_the_answer(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(HELD)
    async with running(with_lifespan(office.server.edge), Limits()) as socket:
        async with (
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{socket.port}", headers=office.owner.bearer
            ) as client,
            client.stream(
                "POST", f"{NATIVE}/chats/{chat['id']}/generate", json={"message": "Hi", "stream": True}
            ) as response,
        ):
            assert "run" in await anext(response.aiter_text())
        office.upstream.go_on()
        read = await office.settled(chat["id"])
    assert [message["content"] for message in read["messages"]] == ["Hi", "Wait over"]
    assert office.upstream.disconnects == 0


async def test_while_an_answer_is_generated_the_chat_says_so_and_takes_nothing_else(office: Office) -> None:
    chat = await office.chat()
    path = f"/chats/{chat['id']}"
    office.upstream.play(HELD)
    task = await begun(office, chat)
    read = await office.read(chat["id"])
    assert read["status"] == "generating"
    assert read["messages"][0]["content"] == "Question"
    for tail, body in (
        ("/generate", {"message": "more"}),
        ("/messages", {"messages": [{"role": "user", "content": "x"}]}),
    ):
        response = await office.ask("POST", path + tail, body=body)
        assert (response.status_code, response.json()["code"]) == (409, "chat_busy")
        assert int(response.headers["retry-after"]) >= 1
    assert (await office.native("PATCH", path, title="Renamed"))["status"] == "generating"
    office.upstream.go_on()
    assert (await task).status_code == 200
    read = await office.read(chat["id"])
    assert (read["status"], read["title"], len(read["messages"])) == (None, "Renamed", 2)


async def test_a_chat_may_be_deleted_while_it_is_answered(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(HELD)
    task = await begun(office, chat)
    await office.native("DELETE", f"/chats/{chat['id']}")
    office.upstream.go_on()
    assert (await task).json()["message"]["content"] == "Wait over"
    await office.refusal(404, "GET", f"/chats/{chat['id']}")
    restored = await office.native("POST", f"/chats/{chat['id']}/restore")
    assert (restored["status"], restored["message_count"]) == (None, 2)


FAILURES: list[tuple[Any, str | None]] = [
    (Refusal(500, "the model fell over"), None),
    (Refusal(401, '{"error": "bad key"}'), None),
    (Script(["Par", "tial"], failure="cut"), "Partial"),
    (Script(["Par", "tial"], failure="error_chunk"), "Partial"),
    (Script(["Par", "tial"], failure="garbage"), "Partial"),
    (Script(["Par", "tial"], failure="no_finish"), "Partial"),
    (Script([], failure="cut"), None),
]


@pytest.mark.parametrize(("script", "kept"), FAILURES, ids=lambda value: str(value)[:60])
async def test_a_failing_provider_leaves_the_chat_in_error_and_the_text_kept(
    office: Office, script: Any, kept: str | None
) -> None:
    chat = await office.chat()
    path = f"/chats/{chat['id']}"
    office.upstream.play(script)
    problem = await office.refusal(502, "POST", path + "/generate", body={"message": "Hi"})
    assert problem["code"] == "provider_failed"
    read = await office.settled(chat["id"])
    assert (read["status"], read["last_error"]) == ("error", problem["detail"])
    assert read["last_error_at"] is not None
    said = read["messages"][1:]
    assert [(message["content"], message["status"], message["error"]) for message in said] == (
        [(kept, "incomplete", problem["detail"])] if kept else []
    )
    after = await office.native("POST", path + "/generate", message="again")
    assert after["message"]["content"] == "You said: again"
    read = await office.read(chat["id"])
    assert (read["status"], read["last_error"], read["last_error_at"]) == (None, None, None)


async def test_a_failing_provider_ends_a_stream_with_an_error_event(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(Script(["Par", "tial"], failure="error_chunk"))
    response = await office.ask(
        "POST", f"/chats/{chat['id']}/generate", body={"message": "Hi", "stream": True}
    )
    assert response.status_code == 200
    name, value = events(response.text)[-1]
    assert name == "error"
    assert "the model fell over" in value["error"]
    assert (value["message"]["content"], value["message"]["status"]) == ("Partial", "incomplete")


async def test_another_model_answers_and_becomes_the_chats(office: Office) -> None:
    chat = await office.chat()
    model = await office.native(
        "POST",
        "/models",
        display_name="poet",
        context_window=4096,
        parent_model_id=chat["model_id"],
        system_prompt="Rhyme.",
    )
    answer = await office.native("POST", f"/chats/{chat['id']}/generate", message="Hi", model_id=model["id"])
    assert answer["message"]["model_id"] == model["id"]
    assert office.upstream.requests[-1]["messages"][0] == {"role": "system", "content": "Rhyme."}
    assert (await office.read(chat["id"]))["model_id"] == model["id"]
    problem = await office.refusal(
        422, "POST", f"/chats/{chat['id']}/generate", body={"message": "x", "model_id": "nope"}
    )
    assert problem["field"] == "model_id"
    assert (await office.read(chat["id"]))["message_count"] == 2


async def test_bounds_and_wishes_reach_the_model(office: Office) -> None:
    chat = await office.chat(system_prompt="Be brief.")
    path = f"/chats/{chat['id']}"
    await office.native("POST", path + "/documents", filename="a.txt", text="the document")
    await office.native("POST", path + "/generate", message="Hi", max_tokens=9, temperature=0.5)
    asked = office.upstream.requests[-1]
    assert (asked["max_tokens"], asked["temperature"]) == (9, 0.5)
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief.\n\nDocument a.txt:\nthe document"},
        {"role": "user", "content": "Hi"},
    ]
    await office.native("POST", path + "/generate", message="Hi", temperature=1)
    assert office.upstream.requests[-1]["temperature"] == 1
    assert "max_tokens" not in office.upstream.requests[-1]


@pytest.mark.parametrize(
    ("wanted", "own", "parents", "asked"),
    [
        (None, None, None, None),
        (9, None, None, 9),
        (9, 500, None, 9),
        (501, 500, None, 500),
        (None, 500, None, 500),
        (None, None, 400, 400),
        (None, 500, 400, 400),
        (200_000, 300, 400, 300),
    ],
)
async def test_more_than_the_model_gives_is_never_asked_for(
    office: Office, wanted: int | None, own: int | None, parents: int | None, asked: int | None
) -> None:
    """The bound of the model that is named and of the one behind it: the lesser counts, also when nobody wished."""
    source: dict[str, Any] = {"provider": "scripted", "model_name": "scripted"}
    card: dict[str, Any] = {"display_name": "p", "context_window": 8192, "max_tokens_per_request": parents}
    parent = await office.native("POST", "/models", **card, **source)
    own_card = {**card, "parent_model_id": parent["id"], "max_tokens_per_request": own}
    model = await office.native("POST", "/models", **own_card)
    chat = await office.chat(model_id=model["id"])
    wish: dict[str, Any] = {} if wanted is None else {"max_tokens": wanted}
    await office.native("POST", f"/chats/{chat['id']}/generate", message="Hi", **wish)
    assert office.upstream.requests[-1].get("max_tokens") == asked


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"message": ""}, "message"),
    ({"message": "ü" * 50_001}, "message"),
    ({"message": ["x"]}, "message"),
    ({"message": "x", "max_tokens": 0}, "max_tokens"),
    ({"message": "x", "max_tokens": 200_001}, "max_tokens"),
    ({"message": "x", "temperature": 2.1}, "temperature"),
    ({"message": "x", "temperature": -1}, "temperature"),
    ({"message": "x", "temperature": "nan"}, "temperature"),
    ({"message": "x", "temperature": "1"}, "temperature"),
    ({"message": "x", "stream": "yes"}, "stream"),
    ({"messages": "x"}, "messages"),
    ({}, "message"),
]


@pytest.mark.parametrize(("body", "field"), REFUSED, ids=lambda value: str(value)[:40])
async def test_what_breaks_a_rule_is_refused_and_nothing_is_said(
    office: Office, body: dict[str, Any], field: str
) -> None:
    chat = await office.chat()
    problem = await office.refusal(422, "POST", f"/chats/{chat['id']}/generate", body=body)
    assert problem["field"] == field
    assert await office.read(chat["id"]) == chat
    assert office.upstream.requests == []


async def test_an_organisation_generates_so_many_answers_at_once(office: Office) -> None:
    bound = office.system.limits.runs_per_organisation_max
    chats = [await office.chat() for _ in range(bound + 1)]
    office.upstream.play(*[HELD] * bound)
    tasks = [await begun(office, chat) for chat in chats[:bound]]
    last = f"/chats/{chats[bound]['id']}"
    response = await office.ask("POST", last + "/generate", body={"message": "x"})
    assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
    assert int(response.headers["retry-after"]) >= 1
    assert (await office.read(chats[bound]["id"]))["messages"] == []
    elsewhere = await office.organisation()
    other = await office.native("POST", "/chats", elsewhere, title="x")
    await office.native("POST", f"/chats/{other['id']}/generate", elsewhere, message="not our trouble")
    for _ in range(bound):
        office.upstream.go_on()
    assert {(await task).status_code for task in tasks} == {200}
    await office.native("POST", last + "/generate", message="now there is room")


async def test_without_any_model_there_is_a_way_out(office: Office) -> None:
    model = (await office.native("GET", "/models"))["items"][0]
    card = {name: model[name] for name in ("display_name", "context_window", "provider", "model_name")}
    chat = await office.chat()
    await office.native("PUT", f"/models/{model['id']}", **card, enabled=False)
    body = {"message": "x"}
    assert (await office.refusal(422, "POST", f"/chats/{chat['id']}/generate", body=body))[
        "field"
    ] == "model_id"
    nobody = await office.chat()
    assert nobody["model_id"] is None
    problem = await office.refusal(503, "POST", f"/chats/{nobody['id']}/generate", body=body)
    assert problem["code"] == "no_model"
    assert "chatkeep models fetch" in problem["detail"]
    assert (await office.read(nobody["id"]))["messages"] == []
