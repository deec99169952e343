"""API keys and client secrets: typos cost no query, a stolen database logs nobody in, an end is an end (T16)."""

from __future__ import annotations

import base64
import json
import random
import re
import shutil
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from chatkeep.domain.errors import InvalidCredential, InvalidField, MissingScope, NotFound
from chatkeep.domain.ids import CredentialId, OrganisationId, PrincipalId
from chatkeep.domain.principal import ROLE_SCOPES, SCOPES
from chatkeep.services import credentials, keys, organisations
from chatkeep.services.context import Context
from tests.contract.dialects.speaking import SPEAKERS, Speaker
from tests.security.estate import operator
from tests.security.keeping import everything_kept
from tests.security.rows import open_rows
from tests.upstream import ScriptedUpstream
from tests.world import NATIVE, Caller, FakeClock, World, open_world

BASE62 = string.digits + string.ascii_letters
RANDOM_KEYS = 10_000
NOWHERE = "0f9d7c1a-5b3e-4a2d-9c8b-7a6f5e4d3c2b"
EVERYWHERE = pytest.mark.parametrize("speaker", SPEAKERS, ids=lambda speaker: speaker.name)


async def status(world: World, secret: str) -> int:
    """Of asking who one is."""
    headers = {"authorization": f"Bearer {secret}".encode("utf-8", "surrogatepass")}
    return (await world.client.get(f"{NATIVE}/me", headers=headers)).status_code  # type: ignore[arg-type]


@contextmanager
def counting(world: World) -> Iterator[list[str]]:
    """The names of the statements that run meanwhile."""
    store: Any = world.system.store
    own, names = store._sql, []

    class Noting(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            names.append(name)
            return super().__getitem__(name)

    store._sql = Noting(own)
    try:
        yield names
    finally:
        store._sql = own


# --- the form --------------------------------------------------------------------------------------------


async def test_a_key_is_one_word_with_its_kind_and_enough_chance(world: World) -> None:
    made = {(await world.service()).key for _ in range(20)}
    assert len(made) == 20
    assert all(re.fullmatch(r"ck_[0-9A-Za-z]{46}", key) for key in made)
    _, secret = await world.client_credentials()
    assert re.fullmatch(r"cks_[0-9A-Za-z]{46}", secret)
    assert len({key[3:20] for key in made}) == 20


async def test_a_typo_is_refused_without_a_query(world: World) -> None:
    key = world.owner.key
    typos = {
        key[:place] + ("a" if key[place] != "a" else "b") + key[place + 1 :] for place in range(3, len(key))
    }
    swapped = {
        key[:place] + key[place + 1] + key[place] + key[place + 2 :] for place in range(3, len(key) - 1)
    } - {key}
    with counting(world) as names:
        for wrong in (*typos, *swapped, key[:-1], key + "a", key.upper(), "ck_", "cks_", "ck_" + "0" * 46):
            assert await status(world, wrong) == 401, wrong
    asked = [name for name in names if "credential" in name or "principal" in name]  # others work beside
    assert asked == [], "a typo cost a query"
    assert await status(world, key) == 200


@pytest.mark.parametrize(
    "wrong",
    [
        "ck_" + "é" * 46,
        "ck_" + "０" * 46,
        "ck_" + "\ud800" * 2,
        "ck_" + "a" * 100_000,
        "ck_" + "a" * 45 + " ",
        "ck_' OR 1=1 --",
        "ck_\x7f" + "a" * 45,
        "ck_" + "\t" * 46,
    ],
)
async def test_what_is_no_key_at_all_is_401(world: World, wrong: str) -> None:
    assert await status(world, wrong) == 401


async def test_random_well_formed_keys_are_refused(world: World) -> None:
    dice = random.Random(16)
    for _ in range(RANDOM_KEYS):
        body = "".join(dice.choices(BASE62, k=40))
        key = f"ck_{body}{credentials._checksum(body)}"
        assert credentials.is_well_formed(key, credentials.KEY_PREFIX)
        with pytest.raises(InvalidCredential):
            await credentials.authenticate(world.system, key)
    assert await status(world, key) == 401


async def test_a_client_secret_is_no_key_and_a_key_no_client_secret(world: World) -> None:
    client_id, secret = await world.client_credentials("owner")
    assert await status(world, secret) == 401
    assert await status(world, "ck_" + secret.removeprefix("cks_")) == 401
    for wrong in (world.owner.key, "cks_" + world.owner.key.removeprefix("ck_")):
        with pytest.raises(InvalidCredential):
            await credentials.check_client(world.system, world.owner.credential_id, wrong)
    other_id, _ = await world.client_credentials("owner")
    with pytest.raises(InvalidCredential):
        await credentials.check_client(world.system, other_id, secret)
    assert (await credentials.check_client(world.system, client_id, secret)).credential_id == client_id


# --- what is kept ----------------------------------------------------------------------------------------


async def test_neither_database_nor_log_holds_a_secret(
    world: World, tmp_path: Path, superuser_url: str | None
) -> None:
    requests: list[bytes] = []
    world.server.edge.reporter.lines = requests.append
    with structlog.testing.capture_logs() as lines:
        secrets = await _use_every_kind_of_secret(world)
    raw = await everything_kept(world, tmp_path / "data", superuser_url)
    assert b"a text that is kept" in raw, "the bytes are not those of the store: the test proves nothing"
    logged = json.dumps(lines, default=repr).encode() + b"".join(requests)
    assert len(requests) > 10
    metrics = (await world.client.get("/metrics")).content
    for name, secret in secrets.items():
        for form in _forms(secret):
            assert form not in raw, f"{name} is in the database"
            assert form not in logged, f"{name} is in the log"
            assert form not in metrics, f"{name} is in the metrics"


@pytest.mark.sqlite  # on PostgreSQL such a node is refused: tests/flows/test_nodes.py
async def test_a_stolen_database_without_the_pepper_logs_nobody_in(
    world: World, tmp_path: Path, superuser_url: str | None
) -> None:
    client_id, client_secret = await world.client_credentials("owner")
    issued = await _access_token(world, client_id, client_secret)
    thief, backup = tmp_path / "thief", tmp_path / "backup"
    for folder in (thief, backup):
        folder.mkdir(mode=0o700)
        for path in (tmp_path / "data").glob("chatkeep.db*"):
            shutil.copy(path, folder / path.name)
    shutil.copytree(tmp_path / "data" / "secrets", backup / "secrets")
    for folder, expected in ((thief, 401), (backup, 200)):
        async with ScriptedUpstream() as upstream, open_world(folder, world.clock, upstream) as copy:
            assert await status(copy, world.owner.key) == expected
            assert await status(copy, issued) == expected
            body = {
                "grant_type": "client_credentials",
                "client_id": client_id,
                "client_secret": client_secret,
            }
            assert (await copy.client.post("/v1/oauth2/token", json=body)).status_code == expected
    async with open_rows(world, superuser_url) as rows:
        place = rows.columns["credentials"].index("secret_hash")
        digests = [row[place] for row in (await rows.all())["credentials"]]
    assert digests
    for digest in digests:
        for form in (digest.hex(), base64.urlsafe_b64encode(digest).decode(), f"ck_{digest.hex()[:46]}"):
            assert await status(world, form) == 401


async def test_the_servers_secrets_are_for_the_server_alone(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0 or (
            path.parent == folder and path.suffix in (".db-wal", ".db-shm")
        ), path
    for path in (folder / "secrets").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert "pepper" not in repr(world.system.keyring)
    assert (folder / "secrets" / "pepper").read_text() not in repr(world.system)


async def test_a_secret_is_shown_once_and_printed_never(world: World) -> None:
    ctx = operator(world, world.owner)
    shown = await keys.create(ctx, keys.NewKey(PrincipalId(world.owner.principal_id), "shown"))
    assert shown.secret not in repr(shown)
    listed = await keys.list_keys(ctx)
    assert shown.secret not in repr(listed)
    assert shown.credential.display == shown.secret[:8]


# --- an end is an end --------------------------------------------------------------------------------------


@EVERYWHERE
async def test_a_revoked_key_stops_at_its_next_request(world: World, speaker: Speaker) -> None:
    caller = await world.service("owner")
    taken = await _read(world, speaker, caller.key)
    await world.revoke(caller)
    refused = await _read(world, speaker, caller.key)
    assert (refused.status_code, refused.content == taken.content) == (401, False)


@EVERYWHERE
async def test_a_key_ends_at_its_time(world: World, speaker: Speaker) -> None:
    caller = await world.person("owner", expires_in_s=3_600)
    taken = await _read(world, speaker, caller.key)
    world.clock.advance(3_590)
    assert (await _read(world, speaker, caller.key)).content == taken.content
    world.clock.advance(11)
    assert (await _read(world, speaker, caller.key)).status_code == 401


async def test_a_suspended_organisation_is_out_and_comes_back(world: World) -> None:
    other = await world.organisation("Other")
    await world.suspend(other)
    assert await status(world, other.key) == 401
    assert await status(world, world.owner.key) == 200
    await organisations.set_suspended(world.system, OrganisationId(other.organisation_id), is_suspended=False)
    assert await status(world, other.key) == 200


async def test_a_key_is_revoked_by_its_holder_or_an_administrator_of_the_house(world: World) -> None:
    member, other_member = await world.service("member"), await world.service("member")
    stranger = await world.organisation("Stranger")
    with pytest.raises(MissingScope):
        await keys.revoke(await _as(world, member), CredentialId(other_member.credential_id))
    for caller in (stranger, world.owner):
        with pytest.raises(NotFound):
            await keys.revoke(await _as(world, caller), CredentialId(NOWHERE))
    with pytest.raises(NotFound):
        await keys.revoke(await _as(world, stranger), CredentialId(other_member.credential_id))
    assert await status(world, other_member.key) == 200
    await keys.revoke(await _as(world, member), CredentialId(member.credential_id))
    await keys.revoke(await _as(world, world.owner), CredentialId(other_member.credential_id))
    assert [await status(world, caller.key) for caller in (member, other_member)] == [401, 401]


async def test_last_use_is_noted_to_the_minute(world: World) -> None:
    caller = await world.service()
    seen = [await _last_used(world, caller)]
    for wait_s in (0.0, 30.0, 29.0, 2.0, 58.0, 3.0):
        world.clock.advance(wait_s)
        assert await status(world, caller.key) == 200
        seen.append(await _last_used(world, caller))
    assert seen[0] is None
    assert seen[1] == seen[2] == seen[3] is not None
    assert seen[4] == seen[5]
    assert len(set(seen)) == 4, "None, at first use, after a minute, after another"
    assert seen[4] is not None
    assert seen[4] - seen[1] >= 60_000_000  # type: ignore[operator]


# --- never more than one has ----------------------------------------------------------------------------------


async def test_a_key_is_never_wider_than_who_makes_it(world: World) -> None:
    narrow = await world.person("owner", ("org:admin", "chat:read"))
    ctx = await _as(world, narrow)
    for scope in SCOPES:
        new = keys.NewKey(PrincipalId(narrow.principal_id), "wider", scopes=(scope,))
        if scope in ("org:admin", "chat:read"):
            await keys.create(ctx, new)
        else:
            with pytest.raises(MissingScope):
                await keys.create(ctx, new)
    everything = await keys.create(ctx, keys.NewKey(PrincipalId(world.owner.principal_id), "all of mine"))
    principal = await credentials.authenticate(world.system, everything.secret)
    assert principal.scopes == {"org:admin", "chat:read"}


async def test_a_key_never_does_more_than_its_holders_role(world: World) -> None:
    ctx = await _as(world, world.owner)
    for role, scopes in ROLE_SCOPES.items():
        holder = await world.service(role)
        for asked in ((), SCOPES):
            shown = await keys.create(
                ctx, keys.NewKey(PrincipalId(holder.principal_id), "given", scopes=asked)
            )
            principal = await credentials.authenticate(world.system, shown.secret)
            assert principal.scopes == scopes
            assert principal.role == role


async def test_members_make_keys_for_themselves_only(world: World) -> None:
    member = await world.service("member")
    ctx = await _as(world, member)
    with pytest.raises(MissingScope):
        await keys.create(ctx, keys.NewKey(PrincipalId(world.owner.principal_id), "the owner's"))
    own = await keys.create(ctx, keys.NewKey(PrincipalId(member.principal_id), "mine"))
    assert (await credentials.authenticate(world.system, own.secret)).scopes == ROLE_SCOPES["member"]


async def test_no_key_for_somebody_of_another_house(world: World) -> None:
    stranger = await world.organisation("Stranger")
    with pytest.raises(NotFound):
        await keys.create(
            await _as(world, world.owner), keys.NewKey(PrincipalId(stranger.principal_id), "theirs")
        )


@pytest.mark.parametrize("expires_in_s", [0, -1, -(10**12)])
async def test_a_key_that_has_ended_is_not_made(world: World, expires_in_s: int) -> None:
    new = keys.NewKey(PrincipalId(world.owner.principal_id), "ended", expires_in_s=expires_in_s)
    with pytest.raises(InvalidField):
        await keys.create(operator(world, world.owner), new)


async def test_the_clock_is_the_only_judge_of_an_end(clock: FakeClock, tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream, open_world(tmp_path / "data", clock, upstream) as world:
        caller = await world.person("owner", expires_in_s=60)
        clock.advance(-3_600)
        assert await status(world, caller.key) == 200
        clock.advance(3_661)
        assert await status(world, caller.key) == 401


async def _as(world: World, caller: Caller) -> Context:
    return Context(world.system, await credentials.authenticate(world.system, caller.key))


async def _read(world: World, speaker: Speaker, secret: str) -> httpx.Response:
    return await world.client.get(speaker.prefix + speaker.chat(NOWHERE), headers=speaker.credential(secret))


async def _last_used(world: World, caller: Caller) -> int | None:
    listed = await keys.list_keys(operator(world, world.owner))
    return next(each.last_used_at for each in listed if each.id == caller.credential_id)


async def _access_token(world: World, client_id: str, client_secret: str) -> str:
    body = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
    answer = await world.client.post("/v1/oauth2/token", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


async def _use_every_kind_of_secret(world: World) -> dict[str, str]:
    member = await world.service("member")
    client_id, client_secret = await world.client_credentials("owner")
    password = "a passphrase that is nowhere written down"
    issued = await _access_token(world, client_id, client_secret)
    person = {"name": "Anna", "email": "anna@example.org", "password": password}
    session = (await world.client.post("/api/v1/auths/signup", json=person)).json()["token"]
    for wrong in (password, password + " wrong"):
        body = {"email": "anna@example.org", "password": wrong}
        await world.client.post("/api/v1/auths/signin", json=body, headers={"idempotency-key": "once"})
    refused = "ck_" + "7" * 46
    text = {"messages": [{"role": "user", "content": "a text that is kept"}]}
    for secret in (world.owner.key, member.key, issued, session, refused):
        headers = {"authorization": f"Bearer {secret}", "idempotency-key": "once"}
        await world.client.post(f"{NATIVE}/chats", json=text, headers=headers)
        for speaker in SPEAKERS:
            headers = {
                **speaker.credential(secret),
                "x-request-id": secret[:64],
                "referer": f"http://x/?key={secret}",
            }
            await world.client.get(
                f"{speaker.prefix}{speaker.chat(NOWHERE)}?api_key={secret}", headers=headers
            )
            await world.client.put(f"{speaker.prefix}{speaker.chat(NOWHERE)}?token={secret}", headers=headers)
    return {
        "the owner's key": world.owner.key,
        "a member's key": member.key,
        "a client's secret": client_secret,
        "an access token": issued,
        "a session token": session,
        "a key that was refused": refused,
        "a password": password,
    }


def _forms(secret: str) -> set[bytes]:
    bare = re.sub(r"^cks?_", "", secret)
    parts = {secret, bare, bare[8:]}
    return {form for part in parts for form in (part.encode(), base64.b64encode(part.encode()).rstrip(b"="))}
