"""Open WebUI's accounts, sessions and credentials, as its clients use them."""

from __future__ import annotations

from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.upstream import ScriptedUpstream
from tests.world import FakeClock, World, open_world

AUTHS = "/api/v1/auths"
CHATS = "/api/v1/chats"
ADA = {"name": "Ada", "email": "Ada@example.org", "password": "correct horse battery"}
NOBODY = {"detail": "Not authenticated"}
UNREADABLE = {"detail": "401 Unauthorized"}
EXPIRED = {"detail": "Your session has expired or the token is invalid. Please sign in again."}
WRONG = {
    "detail": "The email or password provided is incorrect. Please check for typos and try logging in again."
}
PROHIBITED = {
    "detail": "You do not have permission to access this resource. "
    "Please contact your administrator for assistance."
}
SESSION_S = 2_419_200


async def sign(world: World, verb: str, **body: Any) -> httpx.Response:
    """Sign up or in, and keep the client's cookie jar empty: each test says what it sends."""
    response = await world.client.post(f"{AUTHS}/{verb}", json=body)
    world.client.cookies.clear()
    return response


def cookie_of(response: httpx.Response) -> Any:
    return SimpleCookie(response.headers["set-cookie"])["token"]


def carrying(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_the_first_person_is_admin_and_closes_sign_up(world: World) -> None:
    response = await sign(world, "signup", **ADA)
    assert response.status_code == 200
    session = response.json()
    assert set(session) == {
        *(
            "id",
            "name",
            "role",
            "email",
            "profile_image_url",
            "token",
            "token_type",
            "expires_at",
            "permissions",
        )
    }
    assert (session["name"], session["role"], session["email"]) == ("Ada", "admin", "ada@example.org")
    assert session["token_type"] == "Bearer"
    assert session["expires_at"] == 1767268800 + SESSION_S
    assert set(session["permissions"]) == {
        *("workspace", "sharing", "access_grants", "chat", "features", "settings")
    }
    assert session["permissions"]["chat"]["delete"] is True
    assert response.headers["set-cookie"] == (
        f"token={session['token']}; HttpOnly; Max-Age={SESSION_S}; Path=/; SameSite=lax"
    )
    again = await sign(world, "signup", **{**ADA, "email": "bob@example.org"})
    assert (again.status_code, again.json()) == (403, PROHIBITED)
    assert "set-cookie" not in again.headers


async def test_signing_in(world: World) -> None:
    first = (await sign(world, "signup", **ADA)).json()
    world.clock.advance(100)
    response = await sign(world, "signin", email="ada@example.org", password=ADA["password"])
    session = response.json()
    assert response.status_code == 200
    assert session["expires_at"] == first["expires_at"] + 100
    assert session["token"] != first["token"]
    assert {**session, "token": "", "expires_at": 0} == {**first, "token": "", "expires_at": 0}
    assert cookie_of(response).value == session["token"]
    for email, password in (("ada@example.org", "wrong"), ("nobody@example.org", "x"), ("", "")):
        wrong = await sign(world, "signin", email=email, password=password)
        assert (wrong.status_code, wrong.json()) == (400, WRONG)


async def test_too_many_wrong_passwords(world: World) -> None:
    await sign(world, "signup", **ADA)
    for _ in range(5):
        await sign(world, "signin", email="ada@example.org", password="wrong")
    refused = await sign(world, "signin", email="ada@example.org", password=ADA["password"])
    assert (refused.status_code, refused.json()) == (429, {"detail": "API rate limit exceeded"})
    assert int(refused.headers["retry-after"]) > 0
    world.clock.advance(1801)
    assert (await sign(world, "signin", email="ada@example.org", password=ADA["password"])).status_code == 200


async def test_the_session_of_a_token_or_a_cookie(world: World) -> None:
    session = (await sign(world, "signup", **ADA)).json()
    world.clock.advance(1000)
    for headers in (carrying(session["token"]), {"Cookie": f"token={session['token']}"}):
        for path in (f"{AUTHS}/", AUTHS, f"/openwebui{AUTHS}/"):
            response = await world.client.get(path, headers=headers)
            world.client.cookies.clear()
            assert response.json() == {
                **session,
                "status_emoji": None,
                "status_message": None,
                "status_expires_at": None,
            }
            assert cookie_of(response).value == session["token"]
            assert cookie_of(response)["max-age"] == str(SESSION_S - 1000)


async def test_a_key_is_no_human_session(world: World) -> None:
    response = await world.client.get(f"{AUTHS}/", headers=world.owner.bearer)
    assert (response.status_code, response.json()) == (403, {"detail": "A human session is required."})
    nobody = await world.client.get(f"{AUTHS}/")
    assert (nobody.status_code, nobody.json()) == (401, NOBODY)


async def test_every_credential_opens_ones_own_chats(world: World) -> None:
    session = (await sign(world, "signup", **ADA)).json()
    made = await world.client.post(
        f"{CHATS}/new", json={"chat": {"title": "Mine"}}, headers=carrying(session["token"])
    )
    chat = made.json()
    assert (made.status_code, chat["user_id"]) == (200, session["id"])
    at_root = f"{CHATS}/{chat['id']}"
    for path, headers in (
        (at_root, carrying(session["token"])),
        (at_root, {"Cookie": f"a=b; token={session['token']}"}),
        (at_root, world.owner.bearer),
        (f"/api/chats/{chat['id']}", world.owner.x_api_key),
        (f"/openwebui{at_root}", world.owner.x_api_key),
    ):
        response = await world.client.get(path, headers=headers)
        assert (response.status_code, response.json()["id"]) == (200, chat["id"])


async def test_signing_out(world: World) -> None:
    session = (await sign(world, "signup", **ADA)).json()
    response = await world.client.post(f"{AUTHS}/signout", headers={"Cookie": f"token={session['token']}"})
    assert (response.status_code, response.json()) == (200, {"status": True})
    assert (cookie_of(response).value, cookie_of(response)["max-age"]) == ("", "0")
    refused = await world.client.get(f"{AUTHS}/signout")
    assert (refused.status_code, refused.json()) == (405, {"detail": "Method Not Allowed"})


async def answer(world: World, **headers: str) -> tuple[int, Any]:
    response = await world.client.get(f"{CHATS}/whatever", headers=headers)
    return response.status_code, response.json()


async def test_without_a_credential_there_is_nothing(world: World) -> None:
    for path in (
        f"{CHATS}/",
        CHATS,
        f"{CHATS}/x",
        "/api/chats/x/",
        f"{CHATS}/pinned",
        f"/openwebui{CHATS}/list",
    ):
        for method in ("GET", "DELETE", "POST", "PATCH"):
            response = await world.client.request(method, path)
            assert (response.status_code, response.json()) == (401, NOBODY), (method, path)
    assert await answer(world, Authorization="Basic eDp5") == (401, NOBODY)
    assert await answer(world, Authorization="Bearer ") == (401, NOBODY)
    assert await answer(world, Cookie="token=") == (401, NOBODY)
    posted = await world.client.post(f"{CHATS}/new", json={"chat": {}})
    assert (posted.status_code, posted.json()) == (401, NOBODY)


async def test_what_nobody_can_read_and_what_nobody_knows(world: World) -> None:
    token = (await sign(world, "signup", **ADA)).json()["token"]
    head, claims, mark = token.split(".")
    for forged in ("nonsense", "a.b.c", f"{head}.{claims}.", f"{head}.{claims[:-2]}AA.{mark}", "x" * 5000):
        assert await answer(world, Authorization=f"Bearer {forged}") == (401, UNREADABLE)
        assert await answer(world, Cookie=f"token={forged}") == (401, UNREADABLE)
    for unknown in ("sk-" + "0" * 32, "ck_" + "0" * 46, "ck_", world.owner.key[:-1] + "!"):
        assert await answer(world, Authorization=f"Bearer {unknown}") == (401, EXPIRED)


async def test_keys_that_are_over(world: World) -> None:
    short = await world.person(expires_in_s=60)
    revoked, disabled = await world.person(), await world.person()
    assert (await answer(world, **short.bearer))[1] != EXPIRED
    await world.revoke(revoked)
    await world.disable(disabled)
    world.clock.advance(61)
    for caller in (short, revoked, disabled):
        assert await answer(world, **caller.bearer) == (401, EXPIRED)
        response = await world.client.get(f"/openwebui{CHATS}/x", headers=caller.x_api_key)
        assert (response.status_code, response.json()) == (401, EXPIRED)


async def test_sessions_end(world: World) -> None:
    session = (await sign(world, "signup", **ADA)).json()
    world.clock.advance(SESSION_S - 10)
    assert (await world.client.get(f"{AUTHS}/", headers=carrying(session["token"]))).status_code == 200
    world.client.cookies.clear()
    world.clock.advance(10)
    assert await answer(world, **carrying(session["token"])) == (401, UNREADABLE)
    fresh = (await sign(world, "signin", email="ada@example.org", password=ADA["password"])).json()
    await world.native("GET", "/me")
    ada = world.owner.__class__("", "", fresh["id"], world.owner.organisation_id)
    await world.disable(ada)
    assert await answer(world, **carrying(fresh["token"])) == (401, EXPIRED)


@pytest.mark.parametrize(
    ("body", "status", "fault"),
    [
        ({}, 422, ["body", "name"]),
        ({**ADA, "password": "short"}, 422, ["body", "password"]),
        ({**ADA, "password": 12345678}, 422, ["body", "password"]),
        ({**ADA, "name": "x" * 201}, 422, ["body", "name"]),
        ({**ADA, "email": "nothing"}, 400, None),
    ],
)
async def test_accounts_that_cannot_be_made(
    world: World, body: dict, status: int, fault: list | None
) -> None:
    response = await sign(world, "signup", **body)
    assert response.status_code == status
    detail = response.json()["detail"]
    if fault is None:
        assert detail.startswith("The email format you entered is invalid.")
    else:
        assert detail[0]["loc"] == fault
        assert all(set(each) == {"type", "loc", "msg"} for each in detail)
        assert "short" not in response.text
        assert "12345678" not in response.text


async def test_open_sign_up(tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream) -> None:
    async with open_world(tmp_path / "open", clock, upstream, sign_up_open=True) as world:
        await sign(world, "signup", **ADA)
        taken = await sign(world, "signup", **ADA)
        assert taken.status_code == 400
        assert taken.json()["detail"].startswith("Uh-oh! This email is already registered.")
        bob = (await sign(world, "signup", **{**ADA, "name": "Bob", "email": "bob@example.org"})).json()
        assert (bob["role"], bob["permissions"]["chat"]["delete"]) == ("user", True)
        refused = await world.client.get(f"{CHATS}/whatever", headers=carrying(bob["token"]))
        assert refused.status_code == 401
