"""Who sees and who changes a chat: visibility times role, and whether the refusal says 403 or 404."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.flows.office import Office
from tests.world import Caller

pytestmark = pytest.mark.asyncio(loop_scope="session")
UNKNOWN_ID = "01900000-0000-7000-8000-000000000000"
READERS = {
    "private": {"owner", "admin", "creator"},
    "organization": {"owner", "admin", "creator", "named", "member", "named reader", "reader"},
    "shared": {"owner", "admin", "creator", "named", "named reader"},
}
MANAGERS = {"owner", "admin", "creator"}
BOUND_TO_READ = {"reader", "named reader"}
SAID = {"messages": [{"role": "user", "content": "x"}]}


async def cast(office: Office) -> dict[str, Caller]:
    """One of everybody."""
    return {
        "owner": office.owner,
        "admin": await office.person("admin"),
        "creator": await office.person(),
        "named": await office.person(),
        "member": await office.person(),
        "named reader": await office.person("read-only"),
        "reader": await office.person("read-only"),
        "stranger": await office.organisation(),
    }


async def planted(office: Office, people: dict[str, Caller], visibility: str) -> Any:
    """A chat of the creator's that names two people."""
    names = [people["named"].principal_id, people["named reader"].principal_id]
    return await office.chat("Hi", caller=people["creator"], visibility=visibility, shared_with=names)


def reads(chat_id: str) -> Iterator[tuple[str, str]]:
    for tail in ("", "?expand=model", "/messages", "/documents"):
        yield "GET", f"/chats/{chat_id}{tail}"


def changes(chat_id: str) -> Iterator[tuple[str, str, Any]]:
    at = f"/chats/{chat_id}"
    yield "PATCH", at, {"title": "x"}
    yield "POST", at + "/messages", SAID
    yield "POST", at + "/generate", {"message": "x"}
    yield "POST", at + "/documents", {"filename": "a", "text": "b"}
    yield "POST", at + "/share", None
    yield "DELETE", at + "/share", None
    yield "DELETE", at, None
    yield "POST", at + "/restore", None


@pytest.mark.parametrize("visibility", READERS)
async def test_who_reads_a_chat(office: Office, visibility: str) -> None:
    people = await cast(office)
    chat = await planted(office, people, visibility)
    for who, caller in people.items():
        wanted = 200 if who in READERS[visibility] else 404
        for method, path in reads(chat["id"]):
            response = await office.ask(method, path, caller)
            assert response.status_code == wanted, f"{who} {method} {path}"
        if wanted == 200:
            assert await office.read(chat["id"], caller) == chat
        else:
            foreign = (await office.ask("GET", f"/chats/{chat['id']}", caller)).content
            unknown = (await office.ask("GET", f"/chats/{UNKNOWN_ID}", caller)).content
            assert foreign == unknown, f"{who} can tell a foreign chat from none"


@pytest.mark.parametrize("visibility", READERS)
async def test_who_may_not_change_a_chat(office: Office, visibility: str) -> None:
    people = await cast(office)
    chat = await planted(office, people, visibility)
    for who in people.keys() - MANAGERS:
        for method, path, body in changes(chat["id"]):
            response = await office.ask(method, path, people[who], body=body)
            wanted = 404 if path.endswith("/restore") else 403
            code = "not_allowed"
            if who in BOUND_TO_READ:
                wanted, code = 403, "missing_scope"
            elif who not in READERS[visibility]:
                wanted = 404
            assert response.status_code == wanted, f"{who} {method} {path}: {response.text}"
            assert response.json()["code"] == (code if wanted == 403 else "not_found")
    assert await office.read(chat["id"]) == chat


@pytest.mark.parametrize("who", sorted(MANAGERS))
async def test_who_changes_a_chat(office: Office, who: str) -> None:
    people = await cast(office)
    chat = await planted(office, people, "private")
    for method, path, body in changes(chat["id"]):
        response = await office.ask(method, path, people[who], body=body)
        assert response.is_success, f"{who} {method} {path}: {response.text}"
    after = await office.read(chat["id"], people[who])
    assert (after["title"], after["message_count"], after["documents_count"]) == ("x", 4, 1)
    assert after["owner_id"] == people["creator"].principal_id
    assert after["messages"][1]["author_id"] == people[who].principal_id


async def test_a_change_of_visibility_acts_at_once(office: Office) -> None:
    people = await cast(office)
    chat = await planted(office, people, "private")
    path, named, member = f"/chats/{chat['id']}", people["named"], people["member"]
    steps: list[tuple[dict[str, Any], int, int]] = [
        ({"visibility": "shared"}, 200, 404),
        ({"shared_with": [member.principal_id]}, 404, 200),
        ({"visibility": "organization"}, 200, 200),
        ({"visibility": "shared", "shared_with": []}, 404, 404),
        ({"visibility": "organization"}, 200, 200),
        ({"visibility": "private"}, 404, 404),
    ]
    for change, for_named, for_member in steps:
        await office.native("PATCH", path, people["creator"], **change)
        got = [(await office.ask("GET", path, caller)).status_code for caller in (named, member)]
        assert got == [for_named, for_member], change


async def test_the_named_people_are_kept_while_they_do_not_count(office: Office) -> None:
    people = await cast(office)
    chat = await planted(office, people, "private")
    names = [people["named"].principal_id, people["named reader"].principal_id]
    assert chat["shared_with"] == names
    twice = [*names, names[0]]
    changed = await office.native("PATCH", f"/chats/{chat['id']}", shared_with=twice)
    assert (changed["shared_with"], changed["version"]) == (names, chat["version"])


SCOPES: list[tuple[str, tuple[str, ...], str, str, Any]] = [
    ("chat:read", ("chat:write", "chat:invoke", "models:read"), "GET", "/chats", None),
    ("chat:write", ("chat:read", "chat:invoke"), "POST", "/chats", {"title": "x"}),
    ("chat:write", ("chat:read", "chat:invoke"), "PATCH", "/chats/{id}", {"title": "x"}),
    ("chat:write", ("chat:read", "chat:invoke"), "DELETE", "/chats/{id}", None),
    ("chat:write", ("chat:read", "chat:invoke"), "POST", "/chats/{id}/messages", SAID),
    ("chat:write", ("chat:read", "chat:invoke"), "POST", "/chats/{id}/share", None),
    ("chat:write", ("chat:read", "chat:invoke"), "POST", "/folders", {"name": "x"}),
    ("chat:invoke", ("chat:read", "chat:write"), "POST", "/chats/{id}/generate", {"message": "x"}),
    ("models:read", ("chat:read",), "GET", "/models", None),
    (
        "models:write",
        ("models:read", "org:admin"),
        "POST",
        "/models",
        {"display_name": "x", "context_window": 1},
    ),
]


@pytest.mark.parametrize(
    ("scope", "granted", "method", "path", "body"), SCOPES, ids=lambda value: str(value)[:24]
)
async def test_a_key_does_what_it_was_made_for(
    office: Office, scope: str, granted: tuple[str, ...], method: str, path: str, body: Any
) -> None:
    chat = await office.chat("Hi")
    at = path.format(id=chat["id"])
    without, with_ = await office.person("admin", granted), await office.person("admin", (scope,))
    problem = await office.refusal(403, method, at, without, body=body)
    assert problem["code"] == "missing_scope"
    assert problem["detail"] == f"Missing required scope: {scope}"
    assert (await office.ask(method, at, with_, body=body)).is_success


async def test_a_role_bounds_every_key(office: Office) -> None:
    reader = await office.person("read-only", ("chat:read", "chat:write"))
    assert (await office.native("GET", "/me", reader))["scopes"] == ["chat:read"]
    assert (await office.refusal(403, "POST", "/chats", reader, body={}))["code"] == "missing_scope"


async def test_who_is_nobody_gets_401_everywhere(office: Office) -> None:
    chat = await office.chat("Hi")
    revoked, expiring = await office.person(), await office.person(expires_in_s=60)
    await office.revoke(revoked)
    office.clock.advance(61)
    broken = office.owner.key[:-1] + ("a" if office.owner.key[-1] != "a" else "b")
    wrong = [
        {"authorization": value} for value in (f"Bearer {broken}", "Bearer ck_x", "Bearer", "Basic eDp5", "")
    ]
    answers = set()
    for method, path in [*reads(chat["id"]), ("GET", "/me"), ("GET", "/models"), ("POST", "/chats")]:
        nobody = await office.client.request(method, "/chatkeep/v1" + path)
        assert (nobody.status_code, nobody.json()["code"]) == (401, "missing_credential")
        assert nobody.headers["www-authenticate"] == 'Bearer realm="chatkeep"'
        for headers in (revoked.bearer, expiring.bearer, *wrong):
            response = await office.client.request(method, "/chatkeep/v1" + path, headers=headers)
            answers.add((response.status_code, response.json()["code"], response.json()["detail"]))
    assert answers == {(401, "invalid_credential", "Invalid or expired token.")}


async def test_a_suspended_organisation_and_a_disabled_person_are_shut_out_at_once(office: Office) -> None:
    person = await office.person()
    await office.native("GET", "/me", person)
    await office.disable(person)
    await office.refusal(401, "GET", "/me", person)
    await office.suspend(office.owner)
    await office.refusal(401, "GET", "/me")
