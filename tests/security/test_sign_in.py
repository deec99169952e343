"""What strangers learn and what they cost at the doors that need no credential: sign-up and sign-in."""

from __future__ import annotations

import pytest

from chatkeep.services import people
from tests.security.estate import operator
from tests.world import World

AUTHS = "/api/v1/auths"
ANNA = {"name": "Anna", "email": "anna@example.org", "password": "correct horse"}


@pytest.fixture
async def anna(world: World) -> str:
    """The e-mail address of somebody who has signed up, which closes sign-up."""
    made = await world.client.post(f"{AUTHS}/signup", json=ANNA)
    assert made.status_code == 200
    world.client.cookies.clear()
    return ANNA["email"]


async def sign_in(world: World, email: str, password: str) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Status, body and headers."""
    body = {"email": email, "password": password}
    answer = await world.client.post(f"{AUTHS}/signin", json=body, headers={"x-request-id": "signin"})
    world.client.cookies.clear()
    return answer.status_code, answer.content, answer.headers.multi_items()


async def test_a_closed_sign_up_costs_no_password_hash(
    world: World, anna: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each hash takes a quarter of a second of a core: strangers could have as many as they like."""
    hashed, hashes = people._hashed, []

    async def counted(password: str) -> str:
        hashes.append(password)
        return await hashed(password)

    monkeypatch.setattr(people, "_hashed", counted)
    for number in range(3):
        person = {**ANNA, "email": f"stranger{number}@example.org"}
        assert (await world.client.post(f"{AUTHS}/signup", json=person)).status_code == 403
    assert hashes == []


async def test_a_closed_sign_up_does_not_say_who_has_an_account(world: World, anna: str) -> None:
    answers = [
        await world.client.post(
            f"{AUTHS}/signup", json={**ANNA, "email": email}, headers={"x-request-id": "up"}
        )
        for email in (anna, "nobody@example.org")
    ]
    assert answers[0].status_code == 403
    assert answers[0].content == answers[1].content
    assert answers[0].headers == answers[1].headers


async def test_an_unknown_address_and_a_wrong_password_get_one_answer(world: World, anna: str) -> None:
    wrong = await sign_in(world, anna, "wrong horse")
    assert wrong[0] == 400
    assert await sign_in(world, "nobody@example.org", "wrong horse") == wrong
    assert await sign_in(world, "no address at all", "") == wrong
    assert await sign_in(world, anna, "x" * 5_000) == wrong


async def test_a_suspended_organisation_does_not_say_which_password_is_right(world: World, anna: str) -> None:
    await world.suspend(world.owner)
    wrong = await sign_in(world, anna, "wrong horse")
    assert await sign_in(world, anna, ANNA["password"]) == wrong


async def test_a_disabled_account_does_not_say_which_password_is_right(world: World, anna: str) -> None:
    account = await people._proven(world.system, anna, ANNA["password"])
    wrong = await sign_in(world, anna, "wrong horse")
    await people.set_disabled(operator(world, world.owner), account.id, is_disabled=True)
    assert await sign_in(world, anna, ANNA["password"]) == wrong
