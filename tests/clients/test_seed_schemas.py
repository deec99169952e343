"""Every field of the four pages' answers is there with the page's type, whatever state a chat is in and wherever it is
from: each chat made here is read in all four dialects and checked against what `schemas` reads out of the pages.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

import pytest
import pytest_asyncio

from tests.clients import schemas, seeds
from tests.flows.cuadra_client import until_idle
from tests.upstream import DONE, Raw, Script, finish_event, text_event
from tests.world import NATIVE, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATHS = {
    "cuadra": "/v1/chats/{}?expand[]=model",
    "openwebui": "/api/chats/{}",
    "lexicon": "/lexicon/api/v1/chats/{}",
    "synthflow": "/v2/chat/{}",
}
SESSION = "a830288c-88df-4611-8db2-6db87b4fbb41"


async def ask(world: World, method: str, path: str, **json: Any) -> Any:
    """One request as the owner at the root or under a prefix that must succeed; its JSON."""
    response = await world.client.request(method, path, headers=world.owner.bearer, json=json or None)
    assert response.is_success, response.text
    return response.json()


async def empty(world: World, **fields: Any) -> str:
    made = await world.native("POST", "/chats", **{"pinned": False, **fields})
    return str(made["id"])


async def everything(world: World) -> str:
    folder = await world.native("POST", "/folders", name="Folder")
    chat_id = await empty(
        world,
        title="Everything",
        system_prompt="Be brief.",
        metadata={"priority": "high"},
        visibility="shared",
        shared_with=[world.owner.principal_id],
        source="dashboard",
        tags=["Work"],
        folder_id=folder["id"],
        pinned=True,
        archived=True,
    )
    await world.native("POST", f"/chats/{chat_id}/documents", filename="a.txt", text="A")
    await world.native("POST", f"/chats/{chat_id}/share")
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Listen."},
        {
            "role": "user",
            "content": "Ask",
            "media_type": "image/png",
            "media_url": "https://example.org/a.png",
        },
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "Result", "tool_call_id": "c"},
        {"role": "assistant", "content": "Answer", "metadata": {"own": 1}},
    ]
    await world.native("POST", f"/chats/{chat_id}/messages", messages=messages)
    return chat_id


async def answered(world: World) -> str:
    chat_id = await empty(world)
    await world.native("POST", f"/chats/{chat_id}/generate", message="Hi")
    return chat_id


async def failed(world: World) -> str:
    chat_id = await empty(world)
    world.upstream.play(Script(["Half an"], failure="cut"))
    path, body = f"{NATIVE}/chats/{chat_id}/generate", {"message": "Hi"}
    response = await world.client.post(path, headers=world.owner.bearer, json=body)
    assert response.status_code == HTTPStatus.BAD_GATEWAY
    return chat_id


async def ended(world: World) -> str:
    chat_id = await answered(world)
    await world.native("PATCH", f"/chats/{chat_id}", session_state="cancelled")
    return chat_id


async def branched(world: World) -> str:
    chat_id = await answered(world)
    [question, _] = (await world.native("GET", f"/chats/{chat_id}"))["messages"]
    again = {"role": "assistant", "content": "Another answer", "parent_id": question["id"]}
    await world.native("POST", f"/chats/{chat_id}/messages", messages=[again])
    return chat_id


async def ephemeral(world: World) -> str:
    return await empty(world, ttl_s=3600)


async def of_cuadra(world: World) -> str:
    made = await ask(world, "POST", "/v1/chats", messages=[{"role": "user", "content": "Hi"}])
    return str(made["id"])


async def of_openwebui(world: World) -> str:
    made = await ask(world, "POST", "/api/v1/chats/new", chat=seeds.printed_object("openwebui")["chat"])
    return str(made["id"])


async def of_lexicon(world: World) -> str:
    return str((await ask(world, "POST", "/lexicon/api/v1/chats/", user_id="user123"))["id"])


async def of_synthflow(world: World) -> str:
    agent = (await ask(world, "GET", "/v2/assistants/"))["response"]["assistants"][0]["model_id"]
    await ask(world, "POST", f"/v2/chat/{SESSION}", model_id=agent)
    await ask(world, "POST", f"/v2/chat/{SESSION}/messages", message="Hi")
    return SESSION


MAKERS: tuple[Callable[[World], Awaitable[str]], ...] = (
    empty,
    everything,
    answered,
    failed,
    ended,
    branched,
    ephemeral,
    of_cuadra,
    of_openwebui,
    of_lexicon,
    of_synthflow,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chats(shared_world: World) -> AsyncIterator[dict[str, str]]:
    """The id of a chat for each state."""
    yield {make.__name__: await make(shared_world) for make in MAKERS}


async def check_everywhere(world: World, chat_id: str) -> None:
    for dialect, path in PATHS.items():
        schemas.check(dialect, await ask(world, "GET", path.format(chat_id)))


@pytest.mark.parametrize("state", [make.__name__ for make in MAKERS])
async def test_a_chat_has_every_field(shared_world: World, chats: dict[str, str], state: str) -> None:
    await check_everywhere(shared_world, chats[state])


async def test_a_chat_has_every_field_while_it_is_answered(shared_world: World) -> None:
    world = shared_world
    chat_id = await empty(world)
    world.upstream.play(Raw([text_event("So far"), None, text_event("."), finish_event(), DONE]))
    heard = len(world.upstream.requests)
    asking = asyncio.create_task(world.native("POST", f"/chats/{chat_id}/generate", message="Hi"))
    await world.upstream.until_requests(heard + 1)
    assert (await ask(world, "GET", PATHS["cuadra"].format(chat_id)))["status"] == "generating"
    await check_everywhere(world, chat_id)
    world.upstream.go_on()
    await asking
    await until_idle(world)
    await check_everywhere(world, chat_id)


async def test_a_chat_of_no_model_has_every_field(shared_world: World, chats: dict[str, str]) -> None:
    plain = await ask(shared_world, "GET", PATHS["cuadra"].partition("?")[0].format(chats["answered"]))
    assert plain["model"] is None
    schemas.check("cuadra", plain)


# --- a schema says no -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", seeds.DIALECTS)
async def test_an_answer_without_a_field_is_found_out(
    shared_world: World, chats: dict[str, str], dialect: str
) -> None:
    answer = await ask(shared_world, "GET", PATHS[dialect].format(chats["of_synthflow"]))
    schemas.check(dialect, answer)
    inner = answer["response"] if dialect == "synthflow" else answer
    for name in inner:
        crippled = copy.deepcopy(answer)
        del (crippled["response"] if dialect == "synthflow" else crippled)[name]
        named = name in schemas.fields(dialect) or f"response.{name}" in schemas.fields(dialect)
        assert schemas.validator(dialect).is_valid(crippled) is not named, name


# --- the requests ---------------------------------------------------------------------------------------


async def test_the_parameters_are_described(shared_world: World) -> None:
    documents = {name: await ask(shared_world, "GET", f"/{name}/openapi.json") for name in seeds.DIALECTS}
    lexicon = documents["lexicon"]["paths"]["/api/v1/chats/{chat_id}"]["get"]
    schemes = documents["lexicon"]["components"]["securitySchemes"].values()
    for wanted in seeds.lexicon_parameters():
        found = [each["name"] for each in lexicon["parameters"] if each["in"] == wanted.place]
        keys = [each["name"] for each in schemes if each.get("in") == wanted.place]
        assert wanted.name in found + keys
    [path] = seeds.synthflow_document()["paths"]
    described = seeds.synthflow_document()["paths"][path]["get"]["parameters"]
    ours = documents["synthflow"]["paths"][f"/v2{path}"]["get"]
    for parameter in described:
        if parameter["name"] == "Authorization":
            assert ours["security"]
            continue
        [same] = [each for each in ours["parameters"] if each["name"] == parameter["name"]]
        assert (same["in"], same["required"]) == (parameter["in"], parameter["required"])
        assert parameter["schema"].items() <= same["schema"].items()
    cuadra = documents["cuadra"]["paths"]["/v1/chats/{chat_id}"]["get"]["parameters"]
    assert {("chat_id", "path"), ("expand[]", "query")} <= {(each["name"], each["in"]) for each in cuadra}
    openwebui = documents["openwebui"]["paths"]["/api/chats/{chat_id}"]["get"]["parameters"]
    assert [each["required"] for each in openwebui if each["in"] == "path"] == [True]
