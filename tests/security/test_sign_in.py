"""What strangers learn and what they cost at the doors that need no credential: sign-up and sign-in."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatkeep.services import people
from tests.security.estate import operator
from tests.upstream import ScriptedUpstream
from tests.world import FakeClock, World, open_world

AUTHS = "/api/v1/auths"
ANNA = {"name": "Anna", "email": "anna@example.org", "password": "correct horse"}


@pytest.fixture
async def anna(world: World) -> str:
    """The e-mail address of somebody who has signed up, which closes sign-up."""
    made = await world.client.post(f"{AUTHS}/signup", json=ANNA)
    assert made.status_code == 200
    world.client.cookies.clear()
    return ANNA["email"]


async def _never(password: str, stored: str | None) -> bool:
    """No password is right, and none costs its quarter of a second."""
    return False


async def failures(world: World, forwarded: str, count: int) -> list[int]:
    """The statuses of so many wrong passwords, each for another account, said to be from this address."""
    statuses = []
    for number in range(count):
        body = {"email": f"{forwarded}-{number}@example.org", "password": "wrong horse"}
        headers = {"x-forwarded-for": forwarded}
        statuses.append((await world.client.post(f"{AUTHS}/signin", json=body, headers=headers)).status_code)
    return statuses


async def test_who_fails_often_gains_nothing_by_naming_another_address(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "_verified", _never)
    assert await failures(world, "198.51.100.1", 20) == [400] * 20
    assert await failures(world, "198.51.100.2", 1) == [429]


async def test_behind_a_trusted_proxy_each_client_is_counted_alone(
    tmp_path: Path, clock: FakeClock, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "_verified", _never)
    proxies = "10.0.0.0/8, 127.0.0.1"  # the second is the peer that httpx says it is
    async with open_world(tmp_path / "data", clock, upstream, trusted_proxies=proxies) as world:
        assert await failures(world, "198.51.100.1", 20) == [400] * 20
        assert await failures(world, "198.51.100.1", 1) == [429]
        assert await failures(world, "8.8.8.8, 198.51.100.1", 1) == [429]
        assert await failures(world, "198.51.100.1, 10.1.1.1", 1) == [429]
        assert await failures(world, "198.51.100.2", 20) == [400] * 20


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
