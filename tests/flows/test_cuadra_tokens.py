"""Cuadra's client credentials: JSON or form in, an RS256 access token out, and the keys to verify it."""

from __future__ import annotations

from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.flows.cuadra_client import check_problem, get
from tests.world import World

GRANT = "client_credentials"


@pytest.mark.parametrize("prefix", ["", "/cuadra"])
@pytest.mark.parametrize("form", ["json", "data"])
async def test_a_token_is_issued_and_verifies(world: World, prefix: str, form: str) -> None:
    client_id, secret = await world.client_credentials()
    body: Any = {form: {"client_id": client_id, "client_secret": secret, "grant_type": GRANT}}
    response = await world.client.post(f"{prefix}/v1/oauth2/token", **body)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    issued = response.json()
    assert issued.keys() == {"access_token", "token_type", "expires_in"}
    assert (issued["token_type"], issued["expires_in"]) == ("bearer", 3600)
    published = (await world.client.get(f"{prefix}/.well-known/jwks.json")).json()
    assert all("d" not in key and key["alg"] == "RS256" for key in published["keys"])
    read = jwt.decode(issued["access_token"], KeySet.import_key_set(published), algorithms=["RS256"])
    assert read.header["alg"] == "RS256"
    assert read.claims["sub"] == client_id
    assert read.claims["exp"] - read.claims["iat"] == 3600
    headers = {"Authorization": f"bearer {issued['access_token']}"}
    assert (await get(world, headers, f"{prefix}/v1/chats"))["totalCount"] == 0
    world.clock.advance(3600)
    late = await world.client.get(f"{prefix}/v1/chats", headers=headers)
    check_problem(late, 401, "Unauthorized", "Invalid or expired token.")


async def test_who_asks_for_scopes_is_told_what_there_is(world: World) -> None:
    client_id, secret = await world.client_credentials(scopes=("chat:read",))
    body = {"client_id": client_id, "client_secret": secret, "grant_type": GRANT, "scope": "chat:write"}
    response = await world.client.post("/v1/oauth2/token", data=body)
    assert response.json()["scope"] == "chat:read"


async def test_wrong_clients_are_one_answer(world: World) -> None:
    client_id, secret = await world.client_credentials()
    other_id, other_secret = await world.client_credentials()
    bodies: set[bytes] = set()
    pairs = [
        (client_id, other_secret),
        (other_id, secret),
        ("nobody", secret),
        (client_id, ""),
        (client_id, secret[:-1] + ("a" if secret[-1] != "a" else "b")),
        (client_id, world.owner.key),
        ("ü", "ü"),
    ]
    for pair in pairs:
        body = {"client_id": pair[0], "client_secret": pair[1], "grant_type": GRANT}
        response = await world.client.post("/v1/oauth2/token", json=body)
        check_problem(response, 401, "Unauthorized", "Invalid or expired token.")
        bodies.add(response.content)
    assert len(bodies) == 1


async def test_malformed_requests_never_echo_the_secret(world: World) -> None:
    client_id, secret = await world.client_credentials()
    whole = {"client_id": client_id, "client_secret": secret, "grant_type": GRANT}
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({"json": {**whole, "grant_type": "password"}}, 422, "grant_type: "),
        ({"json": {"client_id": client_id, "grant_type": GRANT}}, 422, "client_secret: "),
        ({"data": {"client_secret": secret, "grant_type": GRANT}}, 422, "client_id: "),
        ({"json": {**whole, "client_secret": [secret]}}, 422, "client_secret: "),
        ({"json": [secret]}, 422, "body: "),
        ({"data": {**whole, "client_id": [client_id, client_id]}}, 422, "body: has a field twice"),
        (
            {"content": b"%ff=%ff", "headers": {"content-type": "application/x-www-form-urlencoded"}},
            422,
            "body: ",
        ),
        ({"content": secret.encode()}, 400, ""),
        ({"content": secret.encode(), "headers": {"content-type": "text/plain"}}, 415, ""),
    ]
    for sent, status, start in wrong:
        response = await world.client.post("/v1/oauth2/token", **sent)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.status_code == status, response.text
        assert response.json()["detail"].startswith(start)
        assert secret not in response.text


async def test_a_revoked_client_is_shut_out_at_once(world: World) -> None:
    client_id, secret = await world.client_credentials()
    body = {"client_id": client_id, "client_secret": secret, "grant_type": GRANT}
    issued = (await world.client.post("/v1/oauth2/token", json=body)).json()["access_token"]
    headers = {"Authorization": f"Bearer {issued}"}
    assert (await world.client.get("/v1/chats", headers=headers)).status_code == 200
    await world.suspend(world.owner)
    check_problem(await world.client.get("/v1/chats", headers=headers), 401, "Unauthorized")
    check_problem(await world.client.post("/v1/oauth2/token", json=body), 401, "Unauthorized")
