"""`Idempotency-Key`: the same key with the same request has one effect and one answer, whatever happens in between."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from chatkeep.domain.run import INTERRUPTED
from chatkeep.runtime.sweeper import sweep
from tests.flows.office import Office, events, idle
from tests.rows import query
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
    assert told(again) == told(first)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await _state(office) == state
    mismatch = await keyed(office, at, "k", {} if body is None else {**body, **_another(body)})
    assert (mismatch.status_code, mismatch.json()["code"]) == (422, "idempotency_mismatch")
    assert mismatch.headers["content-type"] == "application/problem+json"
    assert await _state(office) == state


def told(answer: httpx.Response) -> dict[str, str]:
    """What the headers tell of the object."""
    return {name: answer.headers[name] for name in ("etag", "location") if name in answer.headers}


async def test_a_made_chats_headers_come_again(office: Office) -> None:
    for _ in range(2):
        made = await keyed(office, "/chats", "k", {"id": "mine"})
        assert set(told(made)) == {"etag", "location"}
        assert made.headers["location"] == f"{NATIVE}/chats/mine"
        same = {"if-none-match": made.headers["etag"]}
        assert (await office.ask("GET", "/chats/mine", headers=same)).status_code == 304


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


async def test_no_answer_outlives_its_chat(office: Office) -> None:
    """Deleted for good is deleted: the texts are not kept on for the sake of a request that may come again."""
    chat = await office.chat("Hi", "Hello", id="doomed")
    folder = await keyed(office, "/folders", "k", {"name": "stays"})
    for path, body in BODIES.items():
        if path.startswith("/chats/"):
            if path.endswith("/restore"):
                await office.native("DELETE", f"/chats/{chat['id']}")
            at = path.format(chat_id="doomed", message_id=chat["messages"][0]["id"])
            answer = await keyed(office, at, "k", body)
            assert answer.is_success, answer.text
    assert (await keyed(office, "/chats", "k", {"id": "too", "title": "x"})).status_code == 201
    before = remembered(office)
    assert len(before) == len(BODIES) - 1  # none for a model
    for chat_id in ("doomed", "too"):
        await office.native("DELETE", f"/chats/{chat_id}")
    assert remembered(office) == before  # as long as it may be restored
    assert (await keyed(office, "/chats", "k", {"id": "too", "title": "x"})).status_code == 201
    await office.native("POST", "/chats/doomed/restore")
    await office.native("POST", "/chats/too/restore")
    for chat_id in ("doomed", "too"):
        gone = await office.client.delete(f"/openwebui/api/v1/chats/{chat_id}", headers=office.owner.bearer)
        assert gone.json() is True
    assert remembered(office) == [folder.content]
    await office.refusal(404, "POST", "/chats/doomed/share", headers={"idempotency-key": "k"})
    made = await keyed(office, "/chats", "k", {"id": "too", "title": "x"})
    assert (made.status_code, "idempotency-replayed" in made.headers) == (201, False)


async def test_a_chat_that_goes_while_it_is_answered_takes_the_request_along(office: Office) -> None:
    chat = await office.chat("Hi")
    office.upstream.play(HELD)
    path = f"/chats/{chat['id']}/generate"
    asked = asyncio.ensure_future(keyed(office, path, "k", {"message": "Q"}))
    await office.upstream.until_requests()
    await office.client.delete(f"/openwebui/api/v1/chats/{chat['id']}", headers=office.owner.bearer)
    office.upstream.go_on()
    assert (await asked).status_code == 404
    assert remembered(office) == []


@pytest.mark.parametrize(
    ("prefix", "method", "path", "body"),
    [
        ("cuadra", "POST", "/v1/chats", {"messages": [SAID]}),
        ("cuadra", "POST", "/v1/chats", {"messages": [SAID], "stream": True}),
        ("cuadra", "PATCH", "/v1/chats/{chat_id}", {"title": "x"}),
        ("cuadra", "DELETE", "/v1/chats/{chat_id}", None),
        ("openwebui", "POST", "/api/v1/chats/new", {"chat": {}}),
        ("lexicon", "POST", "/api/v1/chats/", {"user_id": "u"}),
        ("synthflow", "POST", "/v2/chat/{chat_id}/messages", {"message": "x"}),
    ],
)
async def test_so_it_is_in_every_dialect(
    office: Office, prefix: str, method: str, path: str, body: Any
) -> None:
    chat = await office.chat("Hi", id=str(uuid4()))
    headers = {**office.owner.bearer, "idempotency-key": "k", **office.owner.x_api_key}
    url = f"/{prefix}{path.format(chat_id=chat['id'])}"
    answer = await office.client.request(method, url, headers=headers, json=body)
    assert answer.is_success, answer.text
    await idle(office)
    again = await office.client.request(method, url, headers=headers, json=body)
    assert again.headers["idempotency-replayed"] == "true"
    assert told(again) == told(answer)
    assert len(remembered(office)) == 1
    for each in (await office.native("GET", "/chats?owner=any"))["items"]:
        await office.client.delete(f"/openwebui/api/v1/chats/{each['id']}", headers=office.owner.bearer)
    for each in (await office.native("GET", "/chats?owner=any&deleted=true"))["items"]:
        await office.native("POST", f"/chats/{each['id']}/restore")
        await office.client.delete(f"/openwebui/api/v1/chats/{each['id']}", headers=office.owner.bearer)
    assert remembered(office) == []


def remembered(office: Office) -> list[bytes]:
    """The answers that the store remembers of this organisation's requests."""
    said = "SELECT body FROM idempotency WHERE organisation_id = ? ORDER BY body"
    return [body for (body,) in query(office.system.store, said, office.owner.organisation_id)]


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


@pytest.mark.sqlite
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
            await world.until_said(chat["id"])
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
