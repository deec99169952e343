"""Messages over the native API: append, list, what is kept of each and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.flows.office import Office
from tests.world import NATIVE

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def append(office: Office, chat: Any, *messages: dict[str, Any]) -> list[Any]:
    return (await office.native("POST", f"/chats/{chat['id']}/messages", messages=list(messages)))["items"]


async def test_what_is_said_comes_back_field_by_field(office: Office) -> None:
    chat = await office.chat()
    said: list[dict[str, Any]] = [
        {"role": "user", "content": "Grüezi 🙂\n\ttabs", "id": "own:1", "metadata": {"a": [1, {"b": None}]}},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "42", "tool_call_id": "call_1"},
        {
            "role": "user",
            "content": "see",
            "media_type": "image/png",
            "media_url": "https://example.org/a.png",
        },
        {"role": "system", "content": "Be brief."},
    ]
    written = await append(office, chat, *said)
    for message, given in zip(written, said, strict=True):
        assert {name: message[name] for name in given} == given
        assert message["chat_id"] == chat["id"]
        assert (message["status"], message["error"]) == ("complete", None)
    assert [message["seq"] for message in written] == [1, 2, 3, 4, 5]
    assert [message["parent_id"] for message in written] == [
        None,
        *(message["id"] for message in written[:-1]),
    ]
    author = office.owner.principal_id
    assert [message["author_id"] for message in written] == [author, None, None, author, None]
    listed = await office.native("GET", f"/chats/{chat['id']}/messages")
    assert listed == {"items": written, "next_cursor": None, "has_more": False}
    read = await office.read(chat["id"])
    assert [{**m, "children_ids": None} for m in read["messages"]] == [
        {**m, "children_ids": None} for m in written
    ]


async def test_an_append_moves_the_chat(office: Office) -> None:
    chat = await office.chat("one")
    (message,) = await append(office, chat, {"role": "assistant", "content": "two"})
    after = await office.read(chat["id"])
    assert after["current_message_id"] == message["id"]
    assert after["last_message_at"] == message["created_at"]
    assert after["updated_at"] >= message["created_at"] > chat["updated_at"]
    assert (after["message_count"], after["version"]) == (2, chat["version"] + 1)


async def test_all_or_none_of_a_request_is_written(office: Office) -> None:
    chat = await office.chat("one")
    before = await office.read(chat["id"])
    taken = before["messages"][0]["id"]
    bad: list[tuple[int, list[dict[str, Any]]]] = [
        (422, [{"role": "user", "content": "a"}, {"role": "user", "content": "x" * 100_001}]),
        (422, [{"role": "user", "content": "a"}, {"role": "user", "content": "b", "parent_id": "nope"}]),
        (409, [{"role": "user", "content": "a"}, {"role": "user", "content": "b", "id": taken}]),
        (
            409,
            [{"role": "user", "content": "a", "id": "twin"}, {"role": "user", "content": "b", "id": "twin"}],
        ),
    ]
    for status, messages in bad:
        await office.refusal(status, "POST", f"/chats/{chat['id']}/messages", body={"messages": messages})
    assert await office.read(chat["id"]) == before


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"role": "user"}, "messages.0.content"),
    ({"content": "x"}, "messages.0.role"),
    ({"role": "robot", "content": "x"}, "messages.0.role"),
    ({"role": "user", "content": None}, "messages.0.content"),
    ({"role": "user", "content": 7}, "messages.0.content"),
    ({"role": "user", "content": "ü" * 50_001}, "messages.0.content"),
    ({"role": "user", "content": "x", "id": "with blank"}, "messages.0.id"),
    ({"role": "user", "content": "x", "id": "x" * 129}, "messages.0.id"),
    ({"role": "user", "content": "x", "parent_id": "übel"}, "messages.0.parent_id"),
    ({"role": "tool", "content": "x"}, "messages.0.tool_call_id"),
    ({"role": "tool", "content": "x", "tool_call_id": ""}, "messages.0.tool_call_id"),
    ({"role": "user", "content": "x", "metadata": {"a": "x" * 70_000}}, "messages.0.metadata"),
    ({"role": "user", "content": "x", "metadata": {"a": "ü" * 40_000}}, "messages.0.metadata"),
    ({"role": "user", "content": "x", "meta": {}}, "messages.0.meta"),
]


@pytest.mark.parametrize(("message", "field"), REFUSED, ids=lambda value: str(value)[:40])
async def test_what_breaks_a_rule_is_refused_and_named(
    office: Office, message: dict[str, Any], field: str
) -> None:
    chat = await office.chat()
    problem = await office.refusal(422, "POST", f"/chats/{chat['id']}/messages", body={"messages": [message]})
    assert (problem["code"], problem["field"]) == ("invalid_field", field)
    assert (await office.read(chat["id"]))["messages"] == []


@pytest.mark.parametrize("raw", [b'"\\u0000"', b'"a\\u0000b"', b'"\\ud800"', b'"\xff"', b'"\\udc00\\ud800"'])
async def test_text_that_is_none_is_refused(office: Office, raw: bytes) -> None:
    chat = await office.chat()
    body = b'{"messages":[{"role":"user","content":' + raw + b"}]}"
    response = await office.ask("POST", f"/chats/{chat['id']}/messages", body=body)
    assert response.status_code in (400, 422)
    assert response.json()["code"] in ("malformed_json", "invalid_field")


async def test_the_number_of_messages_is_bounded(office: Office) -> None:
    chat = await office.chat()
    path = f"/chats/{chat['id']}/messages"
    for messages in ([], [{"role": "user", "content": "x"}] * 101):
        assert (await office.refusal(422, "POST", path, body={"messages": messages}))["field"] == "messages"
    assert len(await append(office, chat, *[{"role": "user", "content": "x"}] * 100)) == 100
    for limit in ("0", "101", "x", "-1"):
        assert (await office.refusal(422, "GET", f"{path}?limit={limit}"))["field"] == "limit"
    assert len((await office.native("GET", path))["items"]) == 50


async def test_one_message_may_be_as_long_as_the_limit(office: Office) -> None:
    chat = await office.chat()
    (message,) = await append(office, chat, {"role": "user", "content": "ü" * 50_000})
    assert message["content"] == "ü" * 50_000


async def test_a_cursor_of_another_list_or_of_nobody_is_refused(office: Office) -> None:
    chat = await office.chat("a", "b", "c")
    path = f"/chats/{chat['id']}/messages?limit=1"
    chats_cursor = (await office.native("GET", "/chats?limit=1"))["next_cursor"]
    assert chats_cursor is None
    await office.chat()
    chats_cursor = (await office.native("GET", "/chats?limit=1"))["next_cursor"]
    own = (await office.native("GET", path))["next_cursor"]
    assert own is not None
    for cursor in (
        chats_cursor,
        "",
        "garbage",
        own + "x",
        "W10",
        "WyIxIl0",
        "WzEuNV0",
        "W3RydWVd",
        "WzFlOTld",
    ):
        problem = await office.refusal(422, "GET", f"{path}&cursor={cursor}")
        assert problem["code"] == "bad_cursor"
    assert len((await office.native("GET", f"{path}&cursor={own}"))["items"]) == 1


async def test_an_ended_session_takes_nothing_more_until_it_goes_on(office: Office) -> None:
    chat = await office.chat("a")
    for state in ("completed", "cancelled"):
        await office.native("PATCH", f"/chats/{chat['id']}", session_state=state)
        for path, body in (
            ("/messages", {"messages": [{"role": "user", "content": "x"}]}),
            ("/generate", {"message": "x"}),
        ):
            problem = await office.refusal(409, "POST", f"/chats/{chat['id']}{path}", body=body)
            assert problem["code"] == "session_ended"
            assert state in problem["detail"]
    await office.native("PATCH", f"/chats/{chat['id']}", session_state="ongoing")
    assert len(await append(office, chat, {"role": "user", "content": "x"})) == 1


async def test_many_at_once_are_all_kept_one_after_the_other(office: Office) -> None:
    chat = await office.chat()
    await asyncio.gather(*(append(office, chat, {"role": "user", "content": str(n)}) for n in range(40)))
    listed = (await office.native("GET", f"/chats/{chat['id']}/messages?limit=100"))["items"]
    assert [message["seq"] for message in listed] == list(range(1, 41))
    assert [message["parent_id"] for message in listed[1:]] == [message["id"] for message in listed[:-1]]
    assert {message["content"] for message in listed} == {str(n) for n in range(40)}


async def test_an_id_is_unique_in_its_chat_only(office: Office) -> None:
    first, second = await office.chat(), await office.chat()
    for chat in (first, second):
        await append(office, chat, {"role": "user", "content": chat["id"], "id": "same"})
    problem = await office.refusal(
        409,
        "POST",
        f"/chats/{first['id']}/messages",
        body={"messages": [{"role": "user", "content": "x", "id": "same"}]},
    )
    assert problem["code"] == "already_exists"


async def test_the_quick_way_in_is_as_strict_as_the_usual_one(office: Office) -> None:
    """POST messages is answered before FastAPI; what FastAPI would have refused must not get through."""
    chat = await office.chat()
    path = f"{NATIVE}/chats/{chat['id']}/messages"
    good = b'{"messages":[{"role":"user","content":"x"}]}'
    for content, status in ((b"", 400), (b"[]", 422), (b"null", 422), (good[:-1], 400), (good + b"x", 400)):
        response = await office.client.post(path, content=content, headers=office.owner.bearer)
        assert response.status_code == status, content
    for kind, status in (
        ("text/plain", 415),
        ("application/json; charset=utf-8", 201),
        ("application/x+json", 201),
    ):
        headers = {**office.owner.bearer, "content-type": kind}
        assert (await office.client.post(path, content=good, headers=headers)).status_code == status
    assert (await office.client.post(path, content=good)).status_code == 401
