"""When an answer is ready, and for how long. Every dialect and engine: `tests/contract/dialects/test_ready.py`."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import orjson
import pytest

from chatkeep import wiring
from chatkeep.config import Settings
from chatkeep.domain.ids import ChatId, CredentialId, OrganisationId, PrincipalId
from chatkeep.domain.message import NewMessage
from chatkeep.edge import ready
from chatkeep.services import keys, organisations, runs
from chatkeep.services.context import Context
from chatkeep.services.wishes import Wish
from tests.contract.dialects.pairs import Pair, connect, get, status, warm
from tests.contract.dialects.pairs import pair as pair
from tests.contract.dialects.speaking import NATIVE, OPENWEBUI
from tests.upstream import DONE, Raw, finish_event, text_event
from tests.world import FakeClock


async def test_a_key_that_another_process_revoked_is_refused_at_once(pair: Pair, tmp_path: Path) -> None:
    guest = await pair.world.person()
    _, request = await warm(pair, NATIVE, guest)
    other = wiring.make_system(Settings(data=tmp_path / "data", local_model=False), clock=pair.world.clock)
    try:
        organisation_id, principal_id = OrganisationId(guest.organisation_id), PrincipalId(guest.principal_id)
        operator = organisations.operator(organisation_id, principal_id)
        await keys.revoke(Context(other, operator), CredentialId(guest.credential_id))
        assert status(await pair.alike(request, at_once=False)) == 401
    finally:
        await wiring.close(other)


async def test_a_key_ends_on_time(pair: Pair, clock: FakeClock) -> None:
    guest = await pair.world.person(expires_in_s=30)
    _, request = await warm(pair, NATIVE, guest)
    clock.advance(29)
    assert status(await pair.alike(request, at_once=True)) == 200
    clock.advance(1)
    assert status(await pair.alike(request, at_once=False)) == 401


async def test_an_ephemeral_chat_ends_on_time(pair: Pair, clock: FakeClock) -> None:
    owner = pair.world.owner
    chat = await pair.world.native("POST", "/chats", ttl_s=30)
    request = get(NATIVE, chat["id"], owner)
    for at_once in (False, True):
        assert status(await pair.alike(request, at_once=at_once)) == 200
    clock.advance(29)
    assert status(await pair.alike(request, at_once=True)) == 200
    clock.advance(1)
    assert status(await pair.alike(request, at_once=False)) == 404


async def test_the_use_of_a_key_is_noted_as_ever(pair: Pair, clock: FakeClock) -> None:
    _, request = await warm(pair, NATIVE)

    owner, world = pair.world.owner, pair.world

    async def last_used() -> int | None:
        ctx = world._operator(owner)
        return next(each.last_used_at for each in await keys.list_keys(ctx) if each.id == owner.credential_id)

    clock.advance(59)
    await pair.alike(request, at_once=True)
    before = await last_used()
    clock.advance(2)
    await pair.alike(request, at_once=False)
    after = await last_used()
    assert before is not None
    assert after is not None
    assert after > before


async def test_what_is_being_said_is_never_an_answer_that_is_ready(pair: Pair) -> None:
    world = pair.world
    chat_id, request = await warm(pair, OPENWEBUI)
    ctx = world._operator(world.owner)
    world.upstream.play(Raw([text_event("Half"), None, text_event(" and half"), finish_event(), DONE]))
    started = await runs.start(ctx, ChatId(chat_id), [NewMessage("user", "Go")], Wish())
    await pair.alike(request, at_once=False)
    await pair.alike(request, at_once=False)  # whoever generates may die without a commit
    before = pair.watched.at_once
    live = world.server.house.runner.begin(started)
    async with asyncio.timeout(20):
        while b'"Half"' not in (await pair.quick.ask(request))[0]:
            pass
    world.upstream.go_on()
    await live.outcome()
    assert b'"Half and half"' in (await pair.quick.ask(request))[0]
    assert pair.watched.at_once == before


async def test_pipelined_requests_are_answered_in_order(pair: Pair) -> None:
    chat_id, known = await warm(pair, NATIVE)
    unknown = get(NATIVE, "nowhere", pair.world.owner)
    listed = known.replace(f"/chats/{chat_id}".encode(), b"/chats?limit=1")
    for requests in (
        [known] * 5,
        [known, unknown, known],
        [unknown, known, known],
        [listed, known, unknown, known],
    ):
        assert await pair.quick.ask(*requests) == await pair.plain.ask(*requests)
    assert status(await pair.alike(known, at_once=True)) == 200


async def test_only_a_get_that_ends_with_its_header_and_stays_is_answered_at_once(pair: Pair) -> None:
    chat_id, known = await warm(pair, NATIVE)
    owner = pair.world.owner
    await pair.alike(get(NATIVE, chat_id, owner, "HEAD"), at_once=False)
    for more in (
        {"content_length": "0"},
        {"upgrade": "h2c", "connection": "upgrade"},
        {"padding": "x" * ready.ASKED_BYTES_MAX},
    ):
        for _ in range(2):
            await pair.alike(get(NATIVE, chat_id, owner, **more), at_once=False)
    kept = get(NATIVE, chat_id, owner, connection="keep-alive")
    await pair.alike(kept, at_once=False)
    await pair.alike(kept, at_once=True)
    with_body = get(NATIVE, chat_id, owner, content_length="4") + b"body"
    for _ in range(2):
        await pair.alike(with_body, at_once=False)
    await pair.alike(known, at_once=True)
    last = get(NATIVE, chat_id, owner, connection="close")
    await pair.alike(last, at_once=False)


async def test_a_request_without_keep_alive_is_never_answered_at_once(pair: Pair) -> None:
    _, known = await warm(pair, NATIVE)
    before = pair.watched.at_once
    for request in (
        known.replace(b"HTTP/1.1", b"HTTP/1.0"),
        known.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
    ):
        for _ in range(2):
            async with connect(pair.server) as connection:
                (answer,) = await connection.ask(request)
                assert b"connection: close" in answer
    assert pair.watched.at_once == before


async def test_the_request_id_is_each_requests_own(pair: Pair) -> None:
    _, request = await warm(pair, NATIVE)
    assert b"x-request-id: mine" in await pair.alike(request, at_once=True)
    assert b"x-request-id: yours" in await pair.alike(request.replace(b"mine", b"yours"), at_once=True)
    unnamed = request.replace(b"x-request-id: mine\r\n", b"")
    answers = await pair.quick.ask(unnamed, unnamed)
    ids = {found[1] for each in answers if (found := re.search(rb"x-request-id: ([0-9a-f-]{36})\r", each))}
    assert len(ids) == 2


async def test_it_is_counted_and_logged_as_any_other(pair: Pair) -> None:
    chat_id, request = await warm(pair, NATIVE)
    lines: list[bytes] = []
    edge = pair.world.server.edge
    edge.reporter.lines = lines.append
    before = edge.metrics._answered[("native", "GET", 200)]
    await pair.alike(request, at_once=True)
    assert edge.metrics._answered[("native", "GET", 200)] == before + 2
    quick, plain = (orjson.loads(line) for line in lines)
    assert quick.keys() == plain.keys()
    assert quick | {"timestamp": 0, "ms": 0} == plain | {"timestamp": 0, "ms": 0}
    assert quick["path"] == f"{NATIVE.prefix}{NATIVE.chat(chat_id)}"


async def test_it_waits_behind_a_client_that_does_not_take_its_answers(pair: Pair) -> None:
    _, request = await warm(pair, NATIVE)
    (connection,) = pair.server._http_connections()
    connection.pause_writing()
    before = pair.watched.at_once
    asking = asyncio.create_task(pair.quick.ask(request))
    await asyncio.wait([asking], timeout=0.05)
    assert not asking.done()
    connection.resume_writing()
    assert status((await asking)[0]) == 200
    assert pair.watched.at_once == before


async def test_the_table_is_bounded(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "READY_MAX", 3)
    chat_id, request = await warm(pair, NATIVE)
    for number in range(8):
        await pair.alike(get(NATIVE, chat_id, pair.world.owner, number=str(number)), at_once=False)
    assert len(pair.world.server.edge._kept._answers) <= 3
    await pair.alike(request, at_once=False)
    await pair.alike(request, at_once=True)
