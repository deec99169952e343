"""Chats over the native API: every field is real and moves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows.office import Office
from tests.world import NATIVE

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNKNOWN_ID = "01900000-0000-7000-8000-000000000000"
EMPTY: dict[str, Any] = {
    "dialect": "native",
    "title": None,
    "agent_id": None,
    "system_prompt": None,
    "metadata": None,
    "origin": "api",
    "source": None,
    "visibility": "private",
    "shared_with": [],
    "status": None,
    "last_error": None,
    "last_error_at": None,
    "session_state": "ongoing",
    "end_reason": None,
    "current_message_id": None,
    "message_count": 0,
    "documents_count": 0,
    "last_message_at": None,
    "pinned": False,
    "archived": False,
    "tags": [],
    "folder_id": None,
    "share_id": None,
    "ephemeral": False,
    "expires_at": None,
    "deleted_at": None,
    "deleted_by": None,
    "version": 1,
    "messages": [],
}


async def test_a_chat_is_created_read_and_listed(office: Office) -> None:
    made = await office.native("POST", "/chats", messages=[{"role": "user", "content": "Hello there"}])
    assert made["title"] == "Hello there"
    assert await office.read(made["id"]) == made
    page = await office.native("GET", "/chats")
    assert [chat["id"] for chat in page["items"]] == [made["id"]]
    assert page["total_count"] == 1


async def test_an_answer_is_generated_and_kept(office: Office) -> None:
    chat = await office.native("POST", "/chats", title="Given")
    answer = await office.native("POST", f"/chats/{chat['id']}/generate", message="Hello model")
    assert answer["error"] is None
    read = await office.read(chat["id"])
    assert [m["role"] for m in read["messages"]] == ["user", "assistant"]
    assert read["messages"][1]["content"] == answer["message"]["content"] == "You said: Hello model"
    assert read["status"] is None
    assert read["title"] == "Given"


async def test_an_empty_chat_says_so_field_by_field(office: Office) -> None:
    response = await office.ask("POST", "/chats", body={})
    assert response.status_code == 201
    chat = response.json()
    assert {name: chat[name] for name in EMPTY} == EMPTY
    model = (await office.native("GET", "/models"))["items"][0]
    assert chat["model_id"] == model["id"]
    assert chat["owner_id"] == office.owner.principal_id
    assert chat["organisation_id"] == office.owner.organisation_id
    assert chat["created_at"] == chat["updated_at"]
    assert chat["created_at"].startswith("2026-01-01T1")
    assert chat["created_at"].endswith("Z")
    assert response.headers["location"] == f"{NATIVE}/chats/{chat['id']}"
    assert (await office.client.get(response.headers["location"], headers=office.owner.bearer)).json() == chat


async def test_everything_that_is_given_comes_back(office: Office) -> None:
    folder = await office.native("POST", "/folders", name="Work")
    friend = await office.person()
    given = {
        "id": "my-own:id_1",
        "title": "Größe 🙂",
        "system_prompt": "Be brief.",
        "metadata": {"n": 1.5, "deep": [{"ö": None}]},
        "visibility": "shared",
        "shared_with": [friend.principal_id],
        "source": "dashboard",
        "tags": ["My Work", "b"],
        "folder_id": folder["id"],
        "pinned": True,
        "archived": True,
    }
    made = await office.native("POST", "/chats", **given)
    assert {name: made[name] for name in given} == given
    assert await office.read("my-own:id_1") == made


CHANGES: list[tuple[str, Any]] = [
    ("title", "Another"),
    ("title", None),
    ("system_prompt", "Rhyme."),
    ("metadata", {"a": [1]}),
    ("metadata", {}),
    ("visibility", "organization"),
    ("tags", ["x", "Y z"]),
    ("pinned", True),
    ("archived", True),
    ("session_state", "completed"),
]


@pytest.mark.parametrize(("field", "value"), CHANGES)
async def test_one_field_changes_and_the_others_stay(office: Office, field: str, value: Any) -> None:
    before = await office.chat("Hi", system_prompt="Old", metadata={"old": 1}, tags=["old"])
    changed = await office.native("PATCH", f"/chats/{before['id']}", **{field: value})
    after = await office.read(before["id"])
    assert {**changed, "messages": before["messages"]} == after
    moved = {field, "updated_at", "version"}
    assert after == {**before, **{name: after[name] for name in moved}}
    assert after[field] == value
    assert after["version"] == before["version"] + 1
    assert after["updated_at"] > before["updated_at"]


async def test_a_change_that_changes_nothing_moves_nothing(office: Office) -> None:
    chat = await office.chat("Hi", tags=["a"])
    path = f"/chats/{chat['id']}"
    for same in (
        {},
        {"title": chat["title"], "tags": ["a"]},
        {"current_message_id": chat["current_message_id"]},
    ):
        response = await office.ask("PATCH", path, body=same)
        assert response.status_code == 200
        assert response.json()["version"] == chat["version"]
    assert await office.read(chat["id"]) == chat


async def test_null_clears_only_what_may_be_empty(office: Office) -> None:
    folder = await office.native("POST", "/folders", name="F")
    chat = await office.chat(folder_id=folder["id"], system_prompt="x", metadata={"a": 1})
    cleared = await office.native(
        "PATCH", f"/chats/{chat['id']}", title=None, system_prompt=None, metadata=None, folder_id=None
    )
    assert {cleared[name] for name in ("title", "system_prompt", "metadata", "folder_id")} == {None}
    for name in (
        "visibility",
        "shared_with",
        "tags",
        "pinned",
        "archived",
        "session_state",
        "current_message_id",
    ):
        problem = await office.refusal(422, "PATCH", f"/chats/{chat['id']}", body={name: None})
        assert problem["field"] == name


async def test_a_title_is_made_from_the_first_user_message_once(office: Office) -> None:
    chat = await office.native(
        "POST",
        "/chats",
        messages=[
            {"role": "system", "content": "not me"},
            {"role": "user", "content": "  first\n line " + "word " * 30},
            {"role": "user", "content": "second"},
        ],
    )
    assert chat["title"].startswith("first line word")
    assert len(chat["title"]) <= 60
    assert chat["title"].endswith("…")
    named = await office.native(
        "POST", "/chats", title="Mine", messages=[{"role": "user", "content": "Hello"}]
    )
    assert named["title"] == "Mine"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"title": "x" * 501}, "title"),
    ({"title": 5}, "title"),
    ({"titel": "typing mistake"}, "titel"),
    ({"system_prompt": "ü" * 50_001}, "system_prompt"),
    ({"metadata": {"a": "x" * 70_000}}, "metadata"),
    ({"metadata": {"a": "ü" * 40_000}}, "metadata"),
    ({"metadata": []}, "metadata"),
    ({"visibility": "public"}, "visibility"),
    ({"shared_with": [UNKNOWN_ID]}, "shared_with"),
    ({"tags": ["x"] * 51}, "tags"),
    ({"tags": [" "]}, "tags"),
    ({"tags": ["None"]}, "tags"),
    ({"tags": ["t" * 201]}, "tags"),
    ({"folder_id": UNKNOWN_ID}, "folder_id"),
    ({"model_id": UNKNOWN_ID}, "model_id"),
    ({"model_id": "no id"}, "model_id"),
    ({"origin": "connector"}, "origin"),
    ({"origin": "m2m"}, "origin"),
    ({"source": "s" * 201}, "source"),
    ({"ttl_s": 0}, "ttl_s"),
    ({"ttl_s": -1}, "ttl_s"),
    ({"ttl_s": 2**40}, "ttl_s"),
    ({"ttl_s": 2**63}, "ttl_s"),
    ({"ttl_s": 1.5}, "ttl_s"),
    ({"pinned": "yes"}, "pinned"),
    ({"id": ""}, "id"),
    ({"id": "x" * 129}, "id"),
    ({"id": "with blank"}, "id"),
    ({"id": "über"}, "id"),
    ({"id": "a/b"}, "id"),
    ({"id": ".."}, "id"),
    ({"id": "."}, "id"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": "user", "content": "a"}] * 1001}, "messages"),
]


@pytest.mark.parametrize(("body", "field"), REFUSED, ids=lambda value: str(value)[:24])
async def test_what_breaks_a_rule_is_refused_and_nothing_is_made(
    office: Office, body: dict[str, Any], field: str
) -> None:
    problem = await office.refusal(422, "POST", "/chats", body=body)
    assert problem["code"] == "invalid_field"
    assert problem["field"] == field or problem["field"].startswith(f"{field}.")
    assert (await office.native("GET", "/chats?owner=any"))["total_count"] == 0


@pytest.mark.parametrize("content_type", [None, "application/json", "application/x-www-form-urlencoded"])
async def test_where_all_fields_may_be_left_out_the_body_may_be_too(
    office: Office, content_type: str | None
) -> None:
    """`curl -X POST` sends no content type, `curl -d ''` that of a form."""
    headers = {**office.owner.bearer, **({"content-type": content_type} if content_type else {})}
    made = await office.client.post(f"{NATIVE}/chats", headers=headers)
    assert (made.status_code, made.json()["visibility"]) == (201, "private")
    chat = await office.chat("Hi")
    asked = await office.client.post(f"{NATIVE}/chats/{chat['id']}/generate", headers=headers)
    assert asked.json()["message"]["content"] == "You said: Hi"


async def test_an_absent_body_and_an_empty_object_are_the_same_request(office: Office) -> None:
    headers = {**office.owner.bearer, "idempotency-key": "k"}
    made = await office.client.post(f"{NATIVE}/chats", headers=headers)
    again = await office.client.post(f"{NATIVE}/chats", headers=headers, json={})
    assert (made.status_code, again.content) == (201, made.content)


async def test_null_is_no_body_and_a_body_that_is_needed_is_asked_for(office: Office) -> None:
    for path in ("/chats", "/folders", "/models"):
        assert (await office.refusal(422, "POST", path, body=b"null"))["code"] == "invalid_field"
    assert (await office.refusal(422, "POST", "/folders"))["field"] in ("name", "body")
    assert (await office.native("GET", "/chats"))["items"] == []


async def test_an_id_is_taken_for_good_while_the_chat_can_come_back(office: Office) -> None:
    await office.native("POST", "/chats", id="mine")
    assert (await office.refusal(409, "POST", "/chats", body={"id": "mine"}))["code"] == "already_exists"
    await office.native("DELETE", "/chats/mine")
    await office.refusal(409, "POST", "/chats", body={"id": "mine"})
    elsewhere = await office.organisation()
    assert (await office.native("POST", "/chats", elsewhere, id="mine"))["id"] == "mine"


@pytest.mark.parametrize("origin", ["m2m", "connector"])
async def test_only_a_service_may_say_that_a_machine_asked(office: Office, origin: str) -> None:
    service = await office.service()
    assert (await office.native("POST", "/chats", service, origin=origin))["origin"] == origin
    problem = await office.refusal(422, "POST", "/chats", body={"origin": origin})
    assert problem["detail"] == f"origin: only a service may create chats as '{origin}'"
    assert (await office.native("POST", "/chats", origin="api"))["origin"] == "api"


async def test_expand_chooses_what_is_included(office: Office) -> None:
    chat = await office.chat("Hi")
    path = f"/chats/{chat['id']}"
    model = (await office.native("GET", "/models"))["items"][0]
    bare = await office.native("GET", path + "?expand=model")
    assert "messages" not in bare
    assert bare["model"] == model
    both = await office.native("GET", path + "?expand=messages&expand=model")
    assert both == {**chat, "model": model}
    assert (await office.refusal(422, "GET", path + "?expand=everything"))["field"] == "expand"
    assert (await office.refusal(422, "GET", path + "?expand="))["field"] == "expand"


async def test_the_model_of_a_chat_moves_and_falls_back_to_one_that_can_answer(office: Office) -> None:
    first = (await office.native("GET", "/models"))["items"][0]
    kept = ("display_name", "context_window", "provider", "model_name")
    await office.native("PUT", f"/models/{first['id']}", **{name: first[name] for name in kept})
    dead = await office.native(
        "POST", "/models", display_name="dead", context_window=4096, is_recommended=True
    )
    chat = await office.chat("Hi", model_id=dead["id"])
    assert chat["model_id"] == dead["id"]
    assert (await office.chat("Hi"))["model_id"] == first["id"]
    moved = await office.native("PATCH", f"/chats/{chat['id']}", model_id=None)
    assert moved["model_id"] == first["id"]


async def test_me_is_the_caller(office: Office) -> None:
    member = await office.person("member", ("chat:read",))
    assert await office.native("GET", "/me", member) == {
        "id": member.principal_id,
        "organisation_id": office.owner.organisation_id,
        "name": "Somebody",
        "kind": "person",
        "role": "member",
        "scopes": ["chat:read"],
    }
