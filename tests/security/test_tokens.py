"""Forged and spent tokens: all of them 401 with one and the same answer, in every dialect (design/trust.md T15)."""

from __future__ import annotations

import base64
import json

import pytest

from chatkeep.domain.ids import PrincipalId
from chatkeep.services import credentials, people, tokens
from tests.contract.dialects.speaking import CUADRA, SPEAKERS, Speaker
from tests.security.estate import operator
from tests.security.forging import Forger, forger, forgeries
from tests.world import Caller, World

NOWHERE = "0f9d7c1a-5b3e-4a2d-9c8b-7a6f5e4d3c2b"
ODD = {"nothing": "", "SQL": "' OR 1=1 --", "NUL": "a\x00b", "much": "x" * 1_000}
EVERYWHERE = pytest.mark.parametrize("speaker", SPEAKERS, ids=lambda speaker: speaker.name)


@pytest.fixture
async def forged(world: World) -> Forger:
    """A forger who knows the owner and a client."""
    account = await people.get(operator(world, world.owner), PrincipalId(world.owner.principal_id))
    client_id, _ = await world.client_credentials("owner")
    return forger(world, world.owner, account.session_stamp, client_id)


async def answer(world: World, speaker: Speaker, secret: str) -> tuple[int, str, str]:
    """Status, body and headers of a read with this credential."""
    headers = {**speaker.credential(secret), "x-request-id": "tokens"}
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    found = await world.client.get(speaker.prefix + speaker.chat(NOWHERE), headers=raw)
    return found.status_code, found.text, repr(found.headers.multi_items())


@EVERYWHERE
async def test_no_forged_token_is_taken_and_all_get_the_same_answer(
    world: World, forged: Forger, speaker: Speaker
) -> None:
    taken = (await answer(world, speaker, forged.good_session()))[:2]
    assert taken == (await answer(world, speaker, forged.good_access()))[:2]
    assert taken[0] == speaker.statuses["not_found"], (
        "the forger's good tokens are not good: the test proves nothing"
    )
    answers: dict[tuple[int, str, str], list[str]] = {}
    for name, secret in forgeries(forged).items():
        answers.setdefault(await answer(world, speaker, secret), []).append(name)
    wrong = {found: names for found, names in answers.items() if found[0] != 401 or found[:2] == taken}
    assert not wrong, f"taken, or refused in another way: {wrong}"
    assert len(answers) == 1, f"told apart: {list(answers.items())[1:]}"


@EVERYWHERE
async def test_spent_tokens_of_our_own_get_one_answer(world: World, forged: Forger, speaker: Speaker) -> None:
    other = await world.organisation("Other")
    kinds = {"person": forged.good_session, "client": forged.good_access}
    spent = {
        "stale stamp": forged.good_session({"stamp": "x" * 22}),
        "nobody": forged.good_session({"sub": NOWHERE}),
        "other organisation": forged.good_session({"org": other.organisation_id}),
        "no organisation": forged.good_session({"org": NOWHERE}),
        "no client": forged.good_access({"sub": NOWHERE}),
        "a key's id as client": forged.good_access({"sub": world.owner.credential_id}),
        "another organisation's key as client": forged.good_access({"sub": other.credential_id}),
        "a person as client": forged.good_access({"sub": world.owner.principal_id}),
        **{
            f"{name} as {kind}": make({"sub": sub})
            for name, sub in ODD.items()
            for kind, make in kinds.items()
        },
    }
    answers = {name: await answer(world, speaker, secret) for name, secret in spent.items()}
    assert {found[0] for found in answers.values()} == {401}
    assert len(set(answers.values())) == 1, answers


async def test_the_organisation_in_an_access_token_gives_nothing(world: World, forged: Forger) -> None:
    other = await world.organisation("Other")
    secret = forged.good_access({"org": other.organisation_id, "scope": "org:admin models:write"})
    found = await world.client.get("/chatkeep/v1/me", headers={"authorization": f"Bearer {secret}"})
    assert found.json()["organisation_id"] == world.owner.organisation_id


async def test_scopes_are_the_clients_today_and_not_the_tokens(world: World) -> None:
    client_id, client_secret = await world.client_credentials("owner", ("chat:read",))
    body = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
    issued = (await world.client.post(CUADRA.prefix + "/v1/oauth2/token", json=body)).json()
    found = await world.client.get(
        "/chatkeep/v1/me", headers={"authorization": f"Bearer {issued['access_token']}"}
    )
    assert found.json()["scopes"] == ["chat:read"]
    assert issued["expires_in"] == world.system.policy.access_token_s


@EVERYWHERE
async def test_tokens_end_when_they_say(world: World, speaker: Speaker) -> None:
    account = await people.get(operator(world, world.owner), PrincipalId(world.owner.principal_id))
    client_id, client_secret = await world.client_credentials("owner")
    holder = await credentials.check_client(world.system, client_id, client_secret)
    access = tokens.issue_access(world.system, holder)
    session = tokens.issue_session(world.system, account)
    for issued in sorted((access, session), key=lambda each: each.expires_at_s):
        left_s = issued.expires_at_s - world.clock.now_us() / 1_000_000
        taken = await answer(world, speaker, issued.token)
        world.clock.advance(left_s - 1)
        assert await answer(world, speaker, issued.token) == taken
        world.clock.advance(2)
        refused = await answer(world, speaker, issued.token)
        assert refused[0] == 401
        assert refused != taken


@EVERYWHERE
async def test_a_disabled_person_is_out_at_the_next_request(world: World, speaker: Speaker) -> None:
    person = await world.service("owner")
    issued = await _session(world, person)
    taken = await answer(world, speaker, issued)
    await world.disable(person)
    refused = await answer(world, speaker, issued)
    assert (refused[0], refused == taken) == (401, False)


@EVERYWHERE
async def test_a_revoked_client_is_out_at_the_next_request(world: World, speaker: Speaker) -> None:
    client_id, client_secret = await world.client_credentials("owner")
    holder = await credentials.check_client(world.system, client_id, client_secret)
    issued = tokens.issue_access(world.system, holder).token
    taken = await answer(world, speaker, issued)
    await world.revoke(Caller("", client_id, world.owner.principal_id, world.owner.organisation_id))
    refused = await answer(world, speaker, issued)
    assert (refused[0], refused == taken) == (401, False)


async def test_what_we_issue_says_what_it_is_and_where_it_belongs(world: World) -> None:
    account = await people.get(operator(world, world.owner), PrincipalId(world.owner.principal_id))
    header, claims = _opened(tokens.issue_session(world.system, account).token)
    assert header == {"alg": "HS256", "typ": "session+jwt"}
    assert {"iss", "aud", "sub", "org", "stamp", "jti", "iat", "exp"} <= claims.keys()
    assert len(world.system.keyring.session_key.raw_value) >= 32
    assert world.system.keyring.signing_key.private_key.key_size >= 2048  # type: ignore[union-attr]


async def test_the_key_set_holds_no_private_part(world: World) -> None:
    found = (await world.client.get("/.well-known/jwks.json")).json()["keys"]
    assert [each["kty"] for each in found] == ["RSA"]
    assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & found[0].keys()


async def _session(world: World, caller: Caller) -> str:
    account = await people.get(operator(world, caller), PrincipalId(caller.principal_id))
    return tokens.issue_session(world.system, account).token


def _opened(issued: str) -> tuple[dict[str, object], dict[str, object]]:
    head, body, _ = (part + "=" * (-len(part) % 4) for part in issued.split("."))
    return json.loads(base64.urlsafe_b64decode(head)), json.loads(base64.urlsafe_b64decode(body))
