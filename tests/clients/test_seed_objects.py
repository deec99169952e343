"""The objects printed on the pages can be stored and come back as they are; ids, people and times aside.

Each is cut out of its page and goes in through the vendor's own API, as far as that can say it.
"""

from __future__ import annotations

import copy
import re
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.clients import schemas, seeds
from tests.clients.moves import answering
from tests.flows.cuadra_client import until_idle
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADDED_BY_OPEN_WEBUI: dict[str, Any] = {"variables": {}, "tasks": None, "summary": None, "context_usage": None}
"""What the real Open WebUI 0.12.4 prints beside the page's fields (contracts/openwebui.md B3.1)."""


async def ask(world: World, method: str, path: str, **options: Any) -> httpx.Response:
    headers = options.pop("headers", world.owner.bearer)
    response = await world.client.request(method, path, headers=headers, **options)
    assert response.is_success, response.text
    return response


def attributed(chat: dict[str, Any], user_id: str, name: str) -> dict[str, Any]:
    """The chat with what the server says about who wrote what."""
    expected = copy.deepcopy(chat)
    for message in expected["history"]["messages"].values():
        message["user_id"] = user_id
        if message["role"] == "user":
            message["user"] = {"id": user_id, "name": name}
    return expected


@pytest.mark.parametrize("path", ["/api/chats", "/api/v1/chats", "/openwebui/api/chats"])
async def test_open_webuis_chat(shared_world: World, path: str) -> None:
    world, printed = shared_world, seeds.printed_object("openwebui")
    made = (await ask(world, "POST", f"{path}/new", json={"chat": printed["chat"]})).json()
    await world.native("PATCH", f"/chats/{made['id']}", tags=["Work", "AI help"])
    got = (await ask(world, "GET", f"{path}/{made['id']}")).json()
    user_id = world.owner.principal_id
    expected = {
        **printed,
        **ADDED_BY_OPEN_WEBUI,
        "user_id": user_id,
        "chat": {**attributed(printed["chat"], user_id, "Owner"), "share_mode": "continue"},
        "current_message_id": "msg-2",
    }
    masked = ("id", "created_at", "updated_at")
    assert {**got, **{name: printed[name] for name in masked}} == expected
    assert list(got["chat"]["history"]["messages"]) == ["msg-1", "msg-2"]
    assert (got["created_at"], made["chat"]) == (made["created_at"], without_mode(got["chat"]))
    assert all(type(got[name]) is int for name in ("created_at", "updated_at"))


def without_mode(chat: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in chat.items() if name != "share_mode"}


async def test_lexicons_chat(shared_world: World) -> None:
    world, printed = shared_world, seeds.printed_object("lexicon")
    key = world.owner.x_api_key
    body = {
        "user_id": printed["user_id"],
        "title": printed["title"],
        "metadata": printed["config"]["metadata"],
    }
    made = (await ask(world, "POST", "/api/v1/chats/", headers=key, json=body)).json()
    world.clock.advance(300)
    said = [
        {"role": ("user", "assistant")[n % 2], "content": f"{n}"} for n in range(printed["message_count"])
    ]
    await world.native("POST", f"/chats/{made['id']}/messages", messages=said)
    got = (await ask(world, "GET", f"/api/v1/chats/{made['id']}", headers=key)).json()
    assert list(got) == list(printed)
    masked = ("id", "tenant_id", "created_at", "updated_at", "last_message_at")
    assert {**got, **{name: printed[name] for name in masked}} == printed
    assert (got["id"], got["tenant_id"]) == (made["id"], world.owner.organisation_id)
    assert got["created_at"] == made["created_at"] < got["updated_at"] == got["last_message_at"]
    begun, spoken = datetime.fromisoformat(got["created_at"]), datetime.fromisoformat(got["updated_at"])
    assert timedelta(minutes=5) <= spoken - begun < timedelta(minutes=6)
    for name in ("created_at", "updated_at", "last_message_at"):
        assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}(\.[0-9]+)?Z", got[name])


async def test_cuadras_model(shared_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world, printed = shared_world, seeds.printed_object("cuadra")
    providers: Any = world.system.providers
    monkeypatch.setitem(providers, printed["provider"], providers["scripted"])  # as if it were configured
    of_server = ("id", "createdAt", "updatedAt", "isSystemModel")
    card = {snake(name): value for name, value in printed.items() if name not in of_server}
    stored = await world.native("POST", "/models", **card)
    chat = await world.native("POST", "/chats", model_id=stored["id"])
    model = (await ask(world, "GET", f"/v1/chats/{chat['id']}?expand[]=model")).json()["model"]
    assert model.keys() == printed.keys()
    assert {**model, **{name: printed[name] for name in of_server[:3]}} == printed
    assert model["id"] == stored["id"]
    assert type(model["creditMultiplier"]) is int
    assert (await ask(world, "GET", f"/v1/models/{stored['id']}")).json() == model


def snake(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


async def test_the_values_beside_cuadras_fields(shared_world: World) -> None:
    """Cuadra prints no whole chat, but a value beside most of its fields: this chat has them all at once."""
    world = shared_world
    printed = {name: text for _, text, name, _ in schemas.CUADRA_ROWS}
    title, prompt = printed["title"].removeprefix("500").strip('"'), printed["systemPrompt"].strip('"')
    readers = [(await world.service("member")).principal_id for _ in range(2)]
    chat = await world.native(
        "POST", "/chats", id=printed["id"].strip('"'), title=title, system_prompt=prompt
    )
    path = f"/v1/chats/{chat['id']}"
    await ask(world, "PATCH", path, json={"visibility": "private", "sharedWith": readers})
    for number in range(3):
        await world.native("POST", f"/chats/{chat['id']}/documents", filename=f"{number}.txt", text="Text")
    async with answering(world, chat["id"]):
        got = (await ask(world, "GET", path)).json()
    await until_idle(world)
    assert (got["id"], got["title"]) == ("chat_abc123", "Product Support Chat")
    assert got["systemPrompt"] == "You are a helpful customer support assistant."
    assert (got["status"], got["documentsCount"]) == ("generating", 3)
    assert (got["visibility"], got["sharedWith"]) == ("private", readers)
