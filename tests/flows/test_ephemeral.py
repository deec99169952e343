"""Ephemeral chats: gone on the second, and not one row of theirs left once the sweeper has been."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import apsw
import pytest

from chatkeep.runtime.sweeper import Swept, sweep, sweep_for_ever
from chatkeep.store import migrations
from tests.flows.office import Office
from tests.rows import TABLES, query, tables
from tests.upstream import DONE, Raw, finish_event, text_event
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
OF_NOBODY = {"nodes", "duties", "sign_ins", "agreements", "commits"}
"""Tables of the whole server."""
SAID: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}


def rows(world: World, organisation_id: str) -> dict[str, int]:
    """How many rows each table holds of one organisation, counted by a connection of our own."""
    store = world.system.store
    found = tables(store)
    counted = {}
    for table in found:
        key = "id" if table == "organisations" else "organisation_id"
        if table in OF_NOBODY:
            continue
        ((counted[table],),) = query(store, f"SELECT count(*) FROM {table} WHERE {key} = ?", organisation_id)
    return counted


def kept(office: Office) -> dict[str, int]:
    return rows(office, office.owner.organisation_id)


async def full(office: Office, **fields: Any) -> Any:
    """A chat with a row in every table that a chat has rows in."""
    friend = await office.person()
    chat = await office.chat("Hi", "Hello", tags=["a", "b"], shared_with=[friend.principal_id], **fields)
    path = f"/chats/{chat['id']}"
    await office.native("POST", path + "/documents", filename="a", text="b")
    await office.native("POST", path + "/share")
    await office.ask(
        "POST", path + "/generate", body={"message": "Q"}, headers={"idempotency-key": chat["id"]}
    )
    return await office.read(chat["id"])


async def clear(office: Office) -> None:
    """Sweep away what other stories left in the shared server."""
    office.clock.advance(24 * 3600)
    await sweep(office.system)


async def test_it_says_when_it_goes(office: Office) -> None:
    chat = await office.chat("Hi", ttl_s=90)
    assert chat["ephemeral"] is True
    assert chat["created_at"].startswith(chat["updated_at"][:19])
    seconds = [int(chat[name][17:19]) + 60 * int(chat[name][14:16]) for name in ("created_at", "expires_at")]
    assert (seconds[1] - seconds[0]) % 3600 == 90
    assert chat["created_at"][19:] == chat["expires_at"][19:]
    plain = await office.chat("Hi")
    assert (plain["ephemeral"], plain["expires_at"]) == (False, None)


async def test_it_is_there_to_the_last_second_and_then_nowhere(office: Office) -> None:
    chat = await office.chat("Hi", ttl_s=60, visibility="organization")
    path, friend = f"/chats/{chat['id']}", await office.person()
    etag = (await office.ask("GET", path)).headers["etag"]
    office.clock.advance(59.9)
    await office.native("POST", path + "/messages", **SAID)
    await office.native("GET", path, friend)
    assert (await office.native("GET", "/chats"))["total_count"] == 1
    office.clock.advance(0.2)
    for method, tail, body in (
        ("GET", "", None),
        ("GET", "/messages", None),
        ("GET", "/documents", None),
        ("PATCH", "", {"title": "x"}),
        ("POST", "/messages", SAID),
        ("POST", "/generate", {"message": "x"}),
        ("POST", "/share", None),
        ("DELETE", "", None),
        ("POST", "/restore", None),
    ):
        assert (await office.refusal(404, method, path + tail, body=body))["detail"] == "Chat not found."
    await office.refusal(404, "GET", path, headers={"if-none-match": etag})
    for asked in ("", "?owner=any", "?deleted=true"):
        assert (await office.native("GET", "/chats" + asked))["total_count"] == 0
    assert (await office.native("GET", "/chats?owner=any", friend))["items"] == []


async def test_the_sweeper_leaves_no_row_of_it(office: Office) -> None:
    await clear(office)
    stays = await full(office)
    await office.person()  # whom the chat below names
    before = kept(office)
    full_chat = await full(office, ttl_s=60)
    grown = {table for table, count in kept(office).items() if count > before[table]}
    of_chats = {
        "chats",
        "messages",
        "chat_tags",
        "chat_people",
        "documents",
        "shares",
        "runs",
        "events",
        "idempotency",
    }
    assert grown == of_chats | {"principals", "credentials"}
    assert await sweep(office.system) == Swept(0, 0, 0, 0)
    assert (await office.read(full_chat["id"])) == full_chat
    office.clock.advance(61)
    assert await sweep(office.system) == Swept(1, 0, 0, 0)
    after = kept(office)
    assert {table: after[table] for table in of_chats} == {table: before[table] for table in of_chats}
    assert await office.read(stays["id"]) == stays
    assert await sweep(office.system) == Swept(0, 0, 0, 0)


async def test_a_deleted_one_is_swept_too_and_its_id_is_free_again(office: Office) -> None:
    before = kept(office)
    await office.chat("Hi", id="again", ttl_s=60)
    await office.native("DELETE", "/chats/again")
    office.clock.advance(61)
    await sweep(office.system)
    assert kept(office) == before
    assert (await office.chat("New", id="again"))["message_count"] == 1


async def test_the_sweeper_forgets_requests_after_their_day(office: Office) -> None:
    before = kept(office)
    await office.ask("POST", "/folders", body={"name": "f"}, headers={"idempotency-key": "k"})
    office.clock.advance(24 * 3600 - 10)
    await sweep(office.system)
    assert kept(office)["idempotency"] == before["idempotency"] + 1
    office.clock.advance(11)
    await sweep(office.system)
    assert kept(office)["idempotency"] == before["idempotency"]


async def test_more_than_one_batch_goes_in_one_sweep(office: Office) -> None:
    await sweep(office.system)
    await asyncio.gather(*(office.native("POST", "/chats", title=str(n), ttl_s=60) for n in range(203)))
    office.clock.advance(61)
    assert (await sweep(office.system)).expired_chats == 203
    assert kept(office)["chats"] == 0


async def test_one_that_ends_while_it_is_answered_takes_the_answer_with_it(office: Office) -> None:
    await clear(office)
    before = kept(office)
    chat = await office.native("POST", "/chats", title="short", ttl_s=60)
    office.upstream.play(Raw([text_event("Wait"), None, text_event(" over"), finish_event(), DONE]))
    body = {"message": "Q"}
    task = asyncio.ensure_future(office.ask("POST", f"/chats/{chat['id']}/generate", body=body))
    await office.upstream.until_requests()
    office.clock.advance(61)
    assert (await sweep(office.system)).expired_chats == 1
    office.upstream.go_on()
    assert ((await task).status_code, (await task).json()["code"]) == (404, "not_found")
    assert kept(office) == before


async def test_other_organisations_are_swept_in_the_same_round_and_keep_what_is_theirs(
    office: Office,
) -> None:
    await clear(office)
    elsewhere = await office.organisation()
    stays = await office.native("POST", "/chats", elsewhere, title="stays")
    await office.native("POST", "/chats", elsewhere, title="goes", ttl_s=60)
    await office.native("POST", "/chats", title="goes", ttl_s=60)
    office.clock.advance(61)
    assert (await sweep(office.system)).expired_chats == 2
    assert [chat["id"] for chat in (await office.native("GET", "/chats", elsewhere))["items"]] == [
        stays["id"]
    ]


async def test_the_sweeper_comes_again_by_itself(office: Office) -> None:
    sweeper = asyncio.create_task(
        sweep_for_ever(office.system, office.server.house.runner, interval_s=0.01, resume="never")
    )
    try:
        for _ in range(2):
            await office.native("POST", "/chats", title="goes", ttl_s=60)
            office.clock.advance(61)
            async with asyncio.timeout(10):
                while kept(office)["chats"]:  # noqa: ASYNC110 - the sweeper tells nobody
                    await asyncio.sleep(0.01)
    finally:
        sweeper.cancel()
    assert (await asyncio.gather(sweeper, return_exceptions=True))[0].__class__ is asyncio.CancelledError


async def test_the_tables_that_hold_a_chats_rows_are_known() -> None:
    """A new table of chats must be thought of here: `ON DELETE CASCADE` is what empties it."""
    held = {"chat_people", "chat_tags", "documents", "events", "idempotency", "messages", "runs", "shares"}
    assert set(_cascading()) == held


def _cascading() -> Iterable[str]:
    connection = apsw.Connection(":memory:")
    for _, sql, _ in migrations.load("sqlite"):
        connection.execute(sql)
    for table in [str(row[0]) for row in connection.execute(TABLES["sqlite"])]:
        for row in connection.execute(f"PRAGMA foreign_key_list({table})"):
            if row[2] == "chats":
                assert row[6] == "CASCADE"
                yield table
