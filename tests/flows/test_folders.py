"""Folders over the native API: one person's own, with unique names."""

from __future__ import annotations

import asyncio

import pytest

from tests.flows.office import Office

pytestmark = pytest.mark.asyncio(loop_scope="session")
UNKNOWN_ID = "01900000-0000-7000-8000-000000000000"


async def test_a_folder_is_made_listed_renamed_and_deleted(office: Office) -> None:
    work = await office.native("POST", "/folders", name="Work 🙂")
    assert set(work) == {"id", "name", "created_at", "updated_at"}
    assert work["created_at"] == work["updated_at"]
    home = await office.native("POST", "/folders", name="Home")
    assert (await office.native("GET", "/folders"))["items"] == [home, work]
    renamed = await office.native("PATCH", f"/folders/{work['id']}", name="Alpha")
    assert renamed == {**work, "name": "Alpha", "updated_at": renamed["updated_at"]}
    assert renamed["updated_at"] > work["updated_at"]
    assert (await office.native("GET", "/folders"))["items"] == [renamed, home]
    await office.native("DELETE", f"/folders/{work['id']}")
    assert (await office.native("GET", "/folders"))["items"] == [home]


async def test_a_name_is_unique_for_its_owner(office: Office) -> None:
    first = await office.native("POST", "/folders", name="Work")
    second = await office.native("POST", "/folders", name="work")
    problem = await office.refusal(409, "POST", "/folders", body={"name": "Work"})
    assert (problem["code"], problem["detail"]) == ("already_exists", "A folder of this name exists already.")
    await office.refusal(409, "PATCH", f"/folders/{second['id']}", body={"name": "Work"})
    assert (await office.native("PATCH", f"/folders/{first['id']}", name="Work"))["name"] == "Work"
    friend = await office.person()
    assert (await office.native("POST", "/folders", friend, name="Work"))["id"] != first["id"]


async def test_of_twins_at_once_one_is_made(office: Office) -> None:
    tries = [office.ask("POST", "/folders", body={"name": "same"}) for _ in range(10)]
    assert sorted(each.status_code for each in await asyncio.gather(*tries)) == [201] + [409] * 9
    assert len((await office.native("GET", "/folders"))["items"]) == 1


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": " "}, {"name": "x" * 201}, {"name": 5}, {"name": None}]
)
async def test_a_name_that_is_none_is_refused(office: Office, body: object) -> None:
    folder = await office.native("POST", "/folders", name="good")
    for method, path in (("POST", "/folders"), ("PATCH", f"/folders/{folder['id']}")):
        assert (await office.refusal(422, method, path, body=body))["field"] == "name"
    assert (await office.native("GET", "/folders"))["items"] == [folder]


async def test_the_chats_of_a_deleted_folder_stay(office: Office) -> None:
    folder = await office.native("POST", "/folders", name="F")
    chat = await office.chat("Hi", folder_id=folder["id"])
    gone = await office.chat("Hi", folder_id=folder["id"])
    await office.native("DELETE", f"/chats/{gone['id']}")
    await office.native("DELETE", f"/folders/{folder['id']}")
    after = await office.read(chat["id"])
    assert after["folder_id"] is None
    assert after["version"] == chat["version"] + 1
    restored = await office.native("POST", f"/chats/{gone['id']}/restore")
    assert restored["folder_id"] is None


async def test_folders_are_their_owners_alone(office: Office) -> None:
    folder = await office.native("POST", "/folders", name="Mine")
    chat = await office.chat(folder_id=folder["id"])
    admin, member, elsewhere = (
        await office.person("admin"),
        await office.person(),
        await office.organisation(),
    )
    for stranger in (admin, member, elsewhere):
        assert (await office.native("GET", "/folders", stranger))["items"] == []
        await office.refusal(404, "PATCH", f"/folders/{folder['id']}", stranger, body={"name": "x"})
        await office.refusal(404, "DELETE", f"/folders/{folder['id']}", stranger)
        problem = await office.refusal(422, "POST", "/chats", stranger, body={"folder_id": folder["id"]})
        assert problem["field"] == "folder_id"
    for folder_id in (UNKNOWN_ID, "no id", "x" * 129):
        await office.refusal(404, "PATCH", f"/folders/{folder_id}", body={"name": "x"})
        await office.refusal(404, "DELETE", f"/folders/{folder_id}")
    assert (await office.read(chat["id"]))["folder_id"] == folder["id"]


async def test_an_administrator_puts_a_chat_into_its_owners_folder(office: Office) -> None:
    member = await office.person()
    theirs = await office.native("POST", "/folders", member, name="Theirs")
    mine = await office.native("POST", "/folders", name="Mine")
    chat = await office.chat(caller=member)
    path = f"/chats/{chat['id']}"
    assert (await office.refusal(422, "PATCH", path, body={"folder_id": mine["id"]}))["field"] == "folder_id"
    assert (await office.native("PATCH", path, folder_id=theirs["id"]))["folder_id"] == theirs["id"]


async def test_a_reader_makes_no_folder(office: Office) -> None:
    reader = await office.person("read-only")
    assert (await office.native("GET", "/folders", reader))["items"] == []
    assert (await office.refusal(403, "POST", "/folders", reader, body={"name": "x"}))[
        "code"
    ] == "missing_scope"
