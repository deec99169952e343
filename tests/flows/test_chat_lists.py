"""Lists of chats: order, filters, pages that neither skip nor repeat, counts that are true."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows.office import Office
from tests.world import Caller

pytestmark = pytest.mark.asyncio(loop_scope="session")
UNKNOWN_ID = "01900000-0000-7000-8000-000000000000"


async def titles(office: Office, query: str = "", caller: Caller | None = None) -> list[str]:
    """The titles of all pages, which must agree with the count and with each other."""
    found: list[str] = []
    cursor = ""
    while True:
        page = await office.native("GET", f"/chats?limit=100{query}{cursor}", caller)
        found += [chat["title"] for chat in page["items"]]
        assert page["has_more"] is (page["next_cursor"] is not None)
        if not page["has_more"]:
            assert page["total_count"] == len(found)
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def make(office: Office, *names: str, caller: Caller | None = None, **fields: Any) -> list[Any]:
    return [await office.native("POST", "/chats", caller, title=name, **fields) for name in names]


async def test_an_empty_list_is_a_list(office: Office) -> None:
    assert await office.native("GET", "/chats") == {
        "items": [],
        "next_cursor": None,
        "has_more": False,
        "total_count": 0,
    }


async def test_the_latest_change_comes_first(office: Office) -> None:
    a, b, _ = await make(office, "a", "b", "c")
    assert await titles(office) == ["c", "b", "a"]
    await office.native("PATCH", f"/chats/{a['id']}", pinned=True)
    assert await titles(office) == ["a", "c", "b"]
    await office.native("POST", f"/chats/{b['id']}/messages", messages=[{"role": "user", "content": "x"}])
    assert await titles(office) == ["b", "a", "c"]


async def test_an_item_is_the_chat_without_its_messages(office: Office) -> None:
    chat = await office.chat("Hi", tags=["x"], metadata={"a": 1})
    (item,) = (await office.native("GET", "/chats"))["items"]
    assert {**item, "messages": chat["messages"]} == chat


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_pages_neither_skip_nor_repeat(office: Office, limit: int) -> None:
    await make(office, *"abcdefg")
    found: list[str] = []
    cursor = ""
    while True:
        page = await office.native("GET", f"/chats?limit={limit}{cursor}")
        assert page["total_count"] == 7
        found += [chat["title"] for chat in page["items"]]
        if page["next_cursor"] is None:
            break
        assert len(page["items"]) == limit
        cursor = f"&cursor={page['next_cursor']}"
    assert found == list("gfedcba")


async def test_what_changes_while_one_reads_is_not_lost_from_the_rest(office: Office) -> None:
    made = await make(office, *"abcd")
    first = await office.native("GET", "/chats?limit=2")
    assert [chat["title"] for chat in first["items"]] == ["d", "c"]
    await office.native("DELETE", f"/chats/{made[2]['id']}")  # the chat that the cursor names
    await make(office, "e")
    rest = await office.native("GET", f"/chats?limit=2&cursor={first['next_cursor']}")
    assert [chat["title"] for chat in rest["items"]] == ["b", "a"]


async def test_the_default_page_has_twenty(office: Office) -> None:
    await make(office, *(str(n) for n in range(21)))
    page = await office.native("GET", "/chats")
    assert (len(page["items"]), page["has_more"], page["total_count"]) == (20, True, 21)


async def test_each_filter_chooses(office: Office) -> None:
    folder = await office.native("POST", "/folders", name="F")
    system = (await office.native("GET", "/models"))["items"][0]["id"]
    model = await office.native("POST", "/models", display_name="m", context_window=1, parent_model_id=system)
    await make(office, "plain")
    await make(office, "archived", archived=True)
    await make(office, "pinned", pinned=True)
    await make(office, "foldered", folder_id=folder["id"])
    await make(office, "tagged", tags=["My Work", "b"])
    await make(office, "modelled", model_id=model["id"])
    created = await office.client.post(
        "/lexicon/api/v1/chats/",
        headers=office.owner.x_api_key,
        json={"user_id": office.owner.principal_id, "title": "lexicon"},
    )
    assert created.status_code == 201
    every = ["lexicon", "modelled", "tagged", "foldered", "pinned", "archived", "plain"]
    assert await titles(office) == every
    for query, wanted in (
        ("&archived=true", ["archived"]),
        ("&archived=false", [name for name in every if name != "archived"]),
        ("&pinned=true", ["pinned"]),
        ("&pinned=false", [name for name in every if name != "pinned"]),
        (f"&folder_id={folder['id']}", ["foldered"]),
        ("&tag=my%20work", ["tagged"]),
        ("&tag=My_Work", ["tagged"]),
        ("&tag=work", []),
        (f"&model_id={model['id']}", ["modelled"]),
        ("&dialect=lexicon", ["lexicon"]),
        ("&dialect=native&archived=true&pinned=false", ["archived"]),
        ("&archived=true&pinned=true", []),
        (f"&folder_id={UNKNOWN_ID}", []),
        (f"&owner={UNKNOWN_ID}", []),
        (f"&owner={office.owner.principal_id}", every),
    ):
        assert await titles(office, query) == wanted, query


async def test_owner_any_is_what_one_may_read(office: Office) -> None:
    ann, ben = await office.person(), await office.person()
    await make(office, "boss")
    await make(office, "ann private", caller=ann)
    await make(office, "ann open", caller=ann, visibility="organization")
    await make(office, "ann for ben", caller=ann, visibility="shared", shared_with=[ben.principal_id])
    await make(office, "ann names ben", caller=ann, shared_with=[ben.principal_id])
    await make(office, "ben", caller=ben)
    await make(office, "elsewhere", caller=await office.organisation(), visibility="organization")
    assert await titles(office, "", ben) == ["ben"]
    assert await titles(office, "&owner=any", ben) == ["ben", "ann for ben", "ann open"]
    assert await titles(office, f"&owner={ann.principal_id}", ben) == ["ann for ben", "ann open"]
    every = ["ben", "ann names ben", "ann for ben", "ann open", "ann private", "boss"]
    assert await titles(office, "&owner=any") == every
    assert await titles(office, f"&owner={ann.principal_id}") == every[1:5]
    assert await titles(office, "&owner=any", await office.person("admin")) == every
    assert await titles(office, "&owner=any", await office.person("read-only")) == ["ann open"]
    await office.native("PATCH", f"/chats/{(await _by_title(office, 'ann for ben'))['id']}", shared_with=[])
    assert await titles(office, "&owner=any", ben) == ["ben", "ann open"]


async def _by_title(office: Office, title: str) -> Any:
    page = await office.native("GET", "/chats?owner=any")
    return next(chat for chat in page["items"] if chat["title"] == title)


async def test_deleted_chats_are_listed_for_those_who_may_restore(office: Office) -> None:
    ann, ben = await office.person(), await office.person()
    people = [ben.principal_id]
    (private,) = await make(office, "private", caller=ann)
    (open_,) = await make(office, "open", caller=ann, visibility="organization")
    (shared,) = await make(office, "shared", caller=ann, visibility="shared", shared_with=people)
    for chat in (private, open_, shared):
        await office.native("DELETE", f"/chats/{chat['id']}", ann)
    await make(office, "alive", caller=ann)
    assert await titles(office, "", ann) == ["alive"]
    assert await titles(office, "&deleted=true", ann) == ["shared", "open", "private"]
    assert await titles(office, "&deleted=true&owner=any") == ["shared", "open", "private"]
    assert await titles(office, "&deleted=true&owner=any", ben) == []
    assert await titles(office, f"&deleted=true&owner={ann.principal_id}", ben) == []
    item = (await office.native("GET", "/chats?deleted=true", ann))["items"][0]
    assert (item["deleted_by"], item["title"]) == (ann.principal_id, "shared")


async def test_what_can_not_come_back_is_not_listed_as_deleted(office: Office) -> None:
    (chat,) = await make(office, "short", ttl_s=60)
    await office.native("DELETE", f"/chats/{chat['id']}")
    assert await titles(office, "&deleted=true") == ["short"]
    office.clock.advance(61)
    await office.refusal(404, "POST", f"/chats/{chat['id']}/restore")
    assert await titles(office, "&deleted=true") == []
    assert await titles(office, "&deleted=true&owner=any") == []


REFUSED = [
    ("limit=0", "limit"),
    ("limit=101", "limit"),
    ("limit=ten", "limit"),
    ("archived=perhaps", "archived"),
    ("dialect=klingon", "dialect"),
    ("owner=no%20id", "owner"),
    ("owner=", "owner"),
    ("folder_id=no%20id", "folder_id"),
    ("folder_id=", "folder_id"),
    ("model_id=%C3%BC", "model_id"),
    ("tag=" + "x" * 201, "tag"),
    ("tag=a%00b", "tag"),
    ("archivd=true", "archivd"),
    ("cursor=" + "x" * 1001, "cursor"),
]


@pytest.mark.parametrize(("query", "field"), REFUSED, ids=[query[:16] for query, _ in REFUSED])
async def test_a_query_that_is_none_is_refused(office: Office, query: str, field: str) -> None:
    assert (await office.refusal(422, "GET", f"/chats?{query}"))["field"] == field


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "W10", "WzFd", "WyJhIiwgImIiXQ", "WzFlOTksICJhIl0", "WzEsICJhIGIiXQ", "%00", "%F0%9F%99%82"],
)
async def test_a_cursor_that_is_none_is_refused(office: Office, cursor: str) -> None:
    assert (await office.refusal(422, "GET", f"/chats?cursor={cursor}"))["code"] == "bad_cursor"
