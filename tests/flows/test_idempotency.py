"""`Idempotency-Key`: the same key with the same request has one effect and one answer, whatever happens in between."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatkeep.domain.run import INTERRUPTED
from chatkeep.runtime.sweeper import sweep
from tests.flows.office import Office, events, idle
from tests.security.surface import openapi, operations
from tests.upstream import DONE, Raw, Script, ScriptedUpstream, finish_event, text_event
from tests.world import NATIVE, FakeClock, World, open_world

pytestmark = pytest.mark.asyncio(loop_scope="session")

SAID = {"role": "user", "content": "x"}
BODIES: dict[str, Any] = {
    "/chats": {"messages": [SAID]},
    "/chats/{chat_id}/messages": {"messages": [SAID]},
    "/chats/{chat_id}/messages/{message_id}/edit": {"content": "x"},
    "/chats/{chat_id}/generate": {"message": "x"},
    "/chats/{chat_id}/regenerate": {"max_tokens": 5},
    "/chats/{chat_id}/continue": {"max_tokens": 5},
    "/chats/{chat_id}/stop": {},
    "/chats/{chat_id}/documents": {"filename": "a", "text": "b"},
    "/chats/{chat_id}/share": None,
    "/chats/{chat_id}/restore": None,
    "/models": {"display_name": "m", "context_window": 1},
    "/folders": {"name": "f"},
}
HELD = Raw([text_event("Wait"), None, text_event(" over"), finish_event(), DONE])


async def keyed(
    office: Office, path: str, key: str, body: Any = None, caller: Any = None, **headers: str
) -> httpx.Response:
    return await office.ask("POST", path, caller, body=body, headers={"idempotency-key": key, **headers})


async def place(office: Office, path: str) -> str:
    """The path with a chat in it that fits."""
    chat = await office.chat("Hi", "Hello")
    if path.endswith("/restore"):
        await office.native("DELETE", f"/chats/{chat['id']}")
    return path.format(chat_id=chat["id"], message_id=chat["messages"][0]["id"])


async def test_every_post_has_the_parameter_and_is_in_this_table(office: Office) -> None:
    paths = openapi(office, "native")["paths"]
    posts = {each.path for each in operations(office, "native") if each.method == "POST"}
    for path in posts:
        named = {
            parameter["name"]
            for parameter in paths[path]["post"]["parameters"]
            if parameter["in"] == "header"
        }
        assert "Idempotency-Key" in named, f"POST {path} takes no Idempotency-Key"
    assert posts == set(BODIES)


@pytest.mark.parametrize("path", BODIES)
async def test_every_post_answers_twice_the_same_and_acts_once(office: Office, path: str) -> None:
    at, body = await place(office, path), BODIES[path]
    first = await keyed(office, at, "k", body)
    assert first.is_success, first.text
    state = await _state(office)
    again = await keyed(office, at, "k", body)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await _state(office) == state
    mismatch = await keyed(office, at, "k", {} if body is None else {**body, **_another(body)})
    assert (mismatch.status_code, mismatch.json()["code"]) == (422, "idempotency_mismatch")
    assert mismatch.headers["content-type"] == "application/problem+json"
    assert await _state(office) == state


def _another(body: dict[str, Any]) -> dict[str, Any]:
    if not body:
        return {"run_id": "another"}
    name, value = next(iter(body.items()))
    if isinstance(value, int):
        return {name: value + 1}
    return {name: f"{value} too" if isinstance(value, str) else [*value, SAID]}


async def _state(office: Office) -> Any:
    """All that a client can see, and how often the model was asked."""
    lists = [
        await office.native("GET", path) for path in ("/chats", "/chats?deleted=true", "/models", "/folders")
    ]
    messages = [await office.native("GET", f"/chats/{chat['id']}/messages") for chat in lists[0]["items"]]
    return lists, messages, len(office.upstream.requests)


async def test_fifty_twins_at_once_have_one_effect(office: Office) -> None:
    chat = await office.chat()
    path = f"/chats/{chat['id']}/messages"
    answers = await asyncio.gather(*(keyed(office, path, "k", {"messages": [SAID]}) for _ in range(50)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 49
    assert (await office.read(chat["id"]))["message_count"] == 1
    made = await asyncio.gather(*(keyed(office, "/chats", "k", {"title": "twin"}) for _ in range(50)))
    assert len({answer.content for answer in made}) == 1
    assert (await office.native("GET", "/chats"))["total_count"] == 2


async def test_of_fifty_twin_questions_one_is_asked(office: Office) -> None:
    chat = await office.chat()
    path = f"/chats/{chat['id']}/generate"
    office.upstream.play(HELD)
    tasks = [asyncio.ensure_future(keyed(office, path, "k", {"message": "Q"})) for _ in range(50)]
    for first in itertools.islice(asyncio.as_completed(tasks), 49):
        await first
    office.upstream.go_on()
    answers = await asyncio.gather(*tasks)
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [409] * 49
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["code"] == "idempotency_in_flight"
            assert int(answer.headers["retry-after"]) >= 1
    replay = await keyed(office, path, "k", {"message": "Q"})
    assert replay.content == next(answer.content for answer in answers if answer.status_code == 200)
    assert len(office.upstream.requests) == 1
    assert [m["content"] for m in (await office.read(chat["id"]))["messages"]] == ["Q", "Wait over"]


async def test_a_finished_stream_is_replayed_as_its_last_event(office: Office) -> None:
    chat = await office.chat()
    path, body = f"/chats/{chat['id']}/generate", {"message": "Q", "stream": True}
    first = await keyed(office, path, "k", body)
    await idle(office)
    again = await keyed(office, path, "k", body)
    assert (again.status_code, again.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert events(again.text) == events(first.text)[-1:]
    assert len(office.upstream.requests) == 1


async def test_a_failed_answer_is_replayed_as_the_failure(office: Office) -> None:
    chat = await office.chat()
    path, body = f"/chats/{chat['id']}/generate", {"message": "Q"}
    office.upstream.play(Script(["Par"], failure="error_chunk"))
    first = await keyed(office, path, "k", body)
    again = await keyed(office, path, "k", body)
    assert first.status_code == again.status_code == 502
    assert first.content == again.content
    assert again.headers["content-type"] == "application/problem+json"
    assert (await keyed(office, path, "another key", {"message": "Q"})).status_code == 200
    assert len(office.upstream.requests) == 2


async def test_a_key_belongs_to_one_caller_and_one_route(office: Office) -> None:
    friend, elsewhere = await office.person(), await office.organisation()
    first = await keyed(office, "/folders", "k", {"name": "f"})
    for caller in (friend, elsewhere):
        other = await keyed(office, "/folders", "k", {"name": "f"}, caller)
        assert other.status_code == 201
        assert other.json()["id"] != first.json()["id"]
    assert (await keyed(office, "/chats", "k", {"title": "f"})).status_code == 201
    chats = [await office.chat("Hi"), await office.chat("Hi")]
    made = [await keyed(office, f"/chats/{chat['id']}/share", "k") for chat in chats]
    assert [answer.status_code for answer in made] == [200, 200]


async def test_what_was_refused_is_not_remembered(office: Office) -> None:
    await office.refusal(422, "POST", "/folders", body={"name": " "}, headers={"idempotency-key": "k"})
    made = await keyed(office, "/folders", "k", {"name": "good"})
    assert made.status_code == 201
    taken = await keyed(office, "/folders", "k2", {"name": "good"})
    assert taken.status_code == 409
    await office.native("DELETE", f"/folders/{made.json()['id']}")
    assert (await keyed(office, "/folders", "k2", {"name": "good"})).status_code == 201


async def test_after_a_day_a_key_is_new_again(office: Office) -> None:
    first = await keyed(office, "/chats", "k", {"title": "once"})
    office.clock.advance(24 * 3600 - 60)
    assert (await keyed(office, "/chats", "k", {"title": "once"})).content == first.content
    office.clock.advance(61)
    later = await keyed(office, "/chats", "k", {"title": "twice"})
    assert later.status_code == 201
    assert later.json()["id"] != first.json()["id"]
    assert (await keyed(office, "/chats", "k", {"title": "twice"})).content == later.content
    office.clock.advance(24 * 3600 + 1)
    await sweep(office.system)
    assert (await keyed(office, "/chats", "k", {"title": "once"})).json()["id"] != first.json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel", "tab\there"])
async def test_a_key_that_is_none_is_refused(office: Office, key: str) -> None:
    headers = {
        b"authorization": office.owner.bearer["Authorization"].encode(),
        b"idempotency-key": key.encode(),
    }
    response = await office.client.post(f"{NATIVE}/folders", headers=headers, json={"name": "f"})
    assert (response.status_code, response.json()["field"]) == (422, "Idempotency-Key")
    assert (await office.native("GET", "/folders"))["items"] == []
    assert (await keyed(office, "/folders", "x" * 255, {"name": "f"})).status_code == 201


async def _asked(world: World, chat_id: str) -> httpx.Response:
    headers = {**world.owner.bearer, "idempotency-key": "k"}
    return await world.client.post(
        f"{NATIVE}/chats/{chat_id}/generate", headers=headers, json={"message": "Q"}
    )


async def test_a_question_cut_off_by_a_crash_is_a_clear_error_and_stored_once(tmp_path: Path) -> None:
    """The data folder of a server in the middle of an answer is copied: what a crash would leave."""
    clock = FakeClock()
    async with ScriptedUpstream() as upstream:
        async with open_world(tmp_path / "data", clock, upstream) as world:
            chat = await world.native("POST", "/chats", title="T")
            upstream.play(HELD)
            task = asyncio.ensure_future(_asked(world, chat["id"]))
            await upstream.until_requests()
            shutil.copytree(tmp_path / "data", tmp_path / "after")
            owner = world.owner
            upstream.go_on()
            await task
        async with open_world(tmp_path / "after", clock, upstream) as world:
            world.owner = owner
            again = [await _asked(world, chat["id"]) for _ in range(2)]
            for answer in again:
                assert (answer.status_code, answer.json()["code"]) == (502, "provider_failed")
                assert answer.json()["detail"] == INTERRUPTED
            read = await world.native("GET", f"/chats/{chat['id']}")
            assert [message["content"] for message in read["messages"]] == ["Q"]
            assert (read["status"], read["last_error"]) == ("error", INTERRUPTED)
            assert read["last_error_at"] is not None
            assert len(upstream.requests) == 1
            await world.native("POST", f"/chats/{chat['id']}/generate", message="Q again")


async def test_a_question_cut_off_by_a_stop_is_gone_on_with_and_its_answer_is_not_sent_twice(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    async with ScriptedUpstream() as upstream:
        async with open_world(tmp_path / "data", clock, upstream) as world:
            chat = await world.native("POST", "/chats", title="T")
            upstream.play(HELD, Script([" for it"]))
            task = asyncio.ensure_future(_asked(world, chat["id"]))
            await upstream.until_requests()
            await _until_said(world, chat["id"], "Wait")
            owner = world.owner
        stopped = await task
        assert (stopped.status_code, stopped.json()["code"]) == (503, "shutting_down")
        async with open_world(tmp_path / "data", clock, upstream) as world:
            world.owner = owner
            await idle(world)
            again = await _asked(world, chat["id"])
            assert (again.status_code, again.json()["detail"]) == (502, INTERRUPTED)
            read = await world.native("GET", f"/chats/{chat['id']}")
            assert [(m["content"], m["status"]) for m in read["messages"]] == [
                ("Q", "complete"),
                ("Wait for it", "complete"),
            ]
            assert read["status"] is None
            assert len(upstream.requests) == 2


async def _until_said(world: World, chat_id: str, text: str) -> None:
    seen, after = "", 0
    async with asyncio.timeout(10):
        while seen != text:
            page = await world.native("GET", f"/chats/{chat_id}/events?after={after}&wait_s=5")
            after = page["after"]
            seen += "".join(each["text"] for each in page["items"] if each["type"] == "run.delta")
