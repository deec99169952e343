"""For every verb that changes a chat: what a client knew before, and the verb's events, make what it would read afresh.

The client is `tests.journal_reader.Copy`. A native route that writes and is in no story here fails the last test.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.flows.office import Office, idle
from tests.journal_reader import Copy
from tests.upstream import DONE, Raw, Refusal, Script, finish_event, text_event
from tests.world import NATIVE

pytestmark = pytest.mark.asyncio(loop_scope="session")
Verb = Callable[[Office, Any], Awaitable[object]]

HELD = Raw([text_event("So far"), None, text_event(" so good"), finish_event(), DONE])


def request(method: str, path: str, **body: Any) -> Verb:
    """One request to a path below the chat's."""

    async def verb(office: Office, chat: Any) -> object:
        return await office.native(method, f"/chats/{chat['id']}{path}", **body)

    return verb


def of_last(role: str, path: str, **body: Any) -> Verb:
    """One request about the last message of a role, `{id}` in the path or `message_id` in the body."""

    async def verb(office: Office, chat: Any) -> object:
        found = [each["id"] for each in await messages(office, chat["id"]) if each["role"] == role][-1]
        more = {} if "{id}" in path else {"message_id": found}
        return await office.native("POST", f"/chats/{chat['id']}{path.format(id=found)}", **body, **more)

    return verb


def one_after_the_other(*verbs: Verb) -> Verb:
    """Several, as one story."""

    async def verb(office: Office, chat: Any) -> object:
        for each in verbs:
            await each(office, chat)
        return None

    return verb


def answering(script: Script | Raw | Refusal, verb: Verb) -> Verb:
    """A verb for which the model answers by a script."""

    async def played(office: Office, chat: Any) -> object:
        office.upstream.play(script)
        return await verb(office, chat)

    return played


async def stop(office: Office, chat: Any) -> None:
    """Stop an answer whose first word is read."""
    office.upstream.play(HELD)
    path = f"/chats/{chat['id']}"
    doing = asyncio.ensure_future(office.native("POST", f"{path}/generate", message="Go on"))
    while not any(each["status"] == "generating" for each in await messages(office, chat["id"])):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await office.native("POST", f"{path}/stop", run_id=None)
    assert (await doing)["message"]["content"] == "So far"


async def into_and_out_of_a_folder(office: Office, chat: Any) -> None:
    folder = await office.native("POST", "/folders", name="Some")
    await office.native("PATCH", f"/chats/{chat['id']}", folder_id=folder["id"])
    await office.native("PATCH", f"/folders/{folder['id']}", name="Others")
    await office.native("DELETE", f"/folders/{folder['id']}")


async def attach_and_remove(office: Office, chat: Any) -> None:
    path = f"/chats/{chat['id']}/documents"
    made = [await office.native("POST", path, filename=f"{name}.txt", text="Text") for name in "ab"]
    await office.native("DELETE", f"{path}/{made[0]['id']}")


async def back(office: Office, chat: Any) -> object:
    first = (await messages(office, chat["id"]))[1]
    return await office.native("PATCH", f"/chats/{chat['id']}", current_message_id=first["id"])


EVERYTHING = {
    "title": "Another",
    "system_prompt": "Be brief.",
    "metadata": {"a": [1, None]},
    "visibility": "organization",
    "tags": ["One", "two words"],
    "pinned": True,
    "archived": True,
}
FULL = Script(["An ", "answer"], reasoning=["Well, "], usage=(7, 5), cost=0.0015)
VERBS: dict[str, Verb] = {
    "append": request("POST", "/messages", messages=[{"role": "user", "content": "a"}] * 3),
    "change": request("PATCH", "", **EVERYTHING),
    "change nothing": request("PATCH", "", title="A chat"),
    "end the session": request("PATCH", "", session_state="completed"),
    "delete and restore": one_after_the_other(request("DELETE", ""), request("POST", "/restore")),
    "share": request("POST", "/share"),
    "share and withdraw": one_after_the_other(request("POST", "/share"), request("DELETE", "/share")),
    "documents": attach_and_remove,
    "folders": into_and_out_of_a_folder,
    "generate": answering(FULL, request("POST", "/generate", message="And?")),
    "generate with a new prompt": answering(FULL, request("POST", "/generate", message="And?", max_tokens=9)),
    "generate that breaks off": answering(
        Script(["An "], failure="cut"), lambda office, chat: fails(office, chat, "/generate", message="And?")
    ),
    "generate that is refused": answering(
        Refusal(500, "{}"), lambda office, chat: fails(office, chat, "/generate", message="And?")
    ),
    "regenerate": answering(FULL, of_last("assistant", "/regenerate")),
    "continue": answering(FULL, of_last("assistant", "/continue")),
    "continue twice": one_after_the_other(
        answering(FULL, of_last("assistant", "/continue")), answering(FULL, of_last("assistant", "/continue"))
    ),
    "edit": answering(FULL, of_last("user", "/messages/{id}/edit", content="Something else")),
    "go to the other branch": one_after_the_other(answering(FULL, of_last("assistant", "/regenerate")), back),
    "stop": stop,
}


async def fails(office: Office, chat: Any, path: str, **body: Any) -> None:
    answer = await office.ask("POST", f"/chats/{chat['id']}{path}", body=body)
    assert answer.json()["code"] == "provider_failed"


async def messages(office: Office, chat_id: str) -> Any:
    """All messages of all branches."""
    return (await office.native("GET", f"/chats/{chat_id}/messages?branch=all&limit=100"))["items"]


async def known(office: Office, chat_id: str) -> Copy:
    """What a client knows who has just read everything."""
    copy = Copy()
    chat = await office.read(chat_id)
    found = await messages(office, chat_id)
    copy.apply({"type": "snapshot", "chat": chat, "messages": found, "has_more": False})
    copy.chat.pop("messages")
    return copy


@pytest.mark.parametrize("name", VERBS)
async def test_old_state_and_events_are_the_new_state(office: Office, name: str) -> None:
    chat = await office.chat("Question", "Answer")
    old, whole = await known(office, chat["id"]), Copy()
    await VERBS[name](office, chat)
    await idle(office)
    fresh, all_messages = await office.read(chat["id"]), await messages(office, chat["id"])
    for copy, after in ((old, chat["version"]), (whole, 0)):
        page = await office.native("GET", f"/chats/{chat['id']}/events?wait_s=0&after={after}")
        assert [event["seq"] for event in page["items"]] == list(range(after + 1, fresh["version"] + 1))
        for event in page["items"]:
            copy.apply(event)
        assert copy.differs_from(fresh, all_messages) == {}


async def test_every_route_that_writes_has_its_story(office: Office) -> None:
    asked: set[tuple[str, str]] = set()

    async def note(sent: httpx.Request) -> None:
        asked.add((sent.method, sent.url.path))

    office.client.event_hooks["request"].append(note)
    for verb in VERBS.values():
        await verb(office, await office.chat("Question", "Answer"))
        await idle(office)
    paths = (await office.native("GET", "/openapi.json"))["paths"]
    for path, methods in paths.items():
        known_as = re.compile(".*" + re.sub(r"\{\w+\}", "[^/]+", path.removeprefix(NATIVE)))
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            if method.lower() in methods and re.search("/(chats|folders)", path):
                assert any(method == how and known_as.fullmatch(what) for how, what in asked), (method, path)
