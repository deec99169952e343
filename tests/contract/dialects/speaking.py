"""How a client of each dialect speaks: makes a chat as far as the dialect lets it, reads it, and recognises an error.

Used by the dialect contract, which lets each of them read what each other wrote.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

from tests.world import Caller, World

Said = list[tuple[str, str]]
SESSION = "3f0a1b6c-0d9e-4c55-8a37-5b1f0c2d4e6f"
QUESTION, REPLY = (
    "Where do the swallows go? — südwärts 🐦",
    "You said: Where do the swallows go? — südwärts 🐦",
)


@dataclass(frozen=True)
class Speaker(ABC):
    """A client of one dialect. `chats` is where chats are made; `statuses` are those of `check_error`'s answers.

    `may_be_silent`: a chat is made without a body too.
    """

    name: str
    prefix: str
    chats: str
    credential: Callable[[str], dict[str, str]]
    statuses: Mapping[str, int] = field(default_factory=dict)
    may_be_silent: bool = False

    @abstractmethod
    def chat(self, chat_id: str) -> str:
        """The path of one chat."""

    @abstractmethod
    def body(self, text: str) -> Any:
        """What is posted to `chats`, with this text wherever a text may stand."""

    @abstractmethod
    async def make(self, world: World, caller: Caller) -> tuple[str, Said]:
        """A chat with something said in it, and what that is."""

    @abstractmethod
    async def path(self, world: World, caller: Caller, chat_id: str) -> Said:
        """Roles and texts of the chat's current path."""

    @abstractmethod
    def check_error(self, answer: httpx.Response) -> None:
        """Assert that an answer is an error in the dialect's shape."""

    async def ask(self, world: World, caller: Caller, method: str, path: str, json: Any = None) -> Any:
        """The JSON of one request that must succeed."""
        headers = self.credential(caller.key)
        answer = await world.client.request(method, self.prefix + path, headers=headers, json=json)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()


def _bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


class Native(Speaker):
    """chatkeep's own API."""

    def chat(self, chat_id: str) -> str:
        return f"/chats/{chat_id}"

    def body(self, text: str) -> Any:
        return {"title": text, "messages": [{"role": "user", "content": text}]}

    async def make(self, world: World, caller: Caller) -> tuple[str, Said]:
        said = [("user", QUESTION), ("assistant", "South."), ("user", "All of them?"), ("assistant", "Most.")]
        messages = [{"role": role, "content": text} for role, text in said]
        made = await self.ask(world, caller, "POST", "/chats", {"messages": messages})
        return made["id"], said

    async def path(self, world: World, caller: Caller, chat_id: str) -> Said:
        found = await self.ask(world, caller, "GET", self.chat(chat_id))
        return [(each["role"], each["content"]) for each in found["messages"]]

    def check_error(self, answer: httpx.Response) -> None:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert {"type", "title", "status", "detail", "code"} <= problem.keys() <= {*PROBLEM, "code", "field"}
        assert problem["status"] == answer.status_code
        assert problem["title"]
        assert problem["detail"]
        assert problem["code"]


PROBLEM = ("type", "title", "status", "detail")


class Cuadra(Speaker):
    """Cuadra AI: messages are said and answered in one call."""

    def chat(self, chat_id: str) -> str:
        return f"/v1/chats/{chat_id}"

    def body(self, text: str) -> Any:
        return {"systemPrompt": text, "messages": [{"role": "user", "content": text}]}

    async def make(self, world: World, caller: Caller) -> tuple[str, Said]:
        first = await self.ask(
            world, caller, "POST", self.chats, {"messages": [{"role": "user", "content": QUESTION}]}
        )
        more = {"chatId": first["id"], "messages": [{"role": "user", "content": "All of them?"}]}
        await self.ask(world, caller, "POST", self.chats, more)
        said = [
            ("user", QUESTION),
            ("assistant", REPLY),
            ("user", "All of them?"),
            ("assistant", "You said: All of them?"),
        ]
        return first["id"], said

    async def path(self, world: World, caller: Caller, chat_id: str) -> Said:
        found = await self.ask(world, caller, "GET", self.chat(chat_id))
        return [(each["role"], each["content"]) for each in found["messages"]]

    def check_error(self, answer: httpx.Response) -> None:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert list(problem) == list(PROBLEM)
        assert problem["type"] == "about:blank"
        assert problem["status"] == answer.status_code
        assert isinstance(problem["title"], str)
        assert isinstance(problem["detail"], str)


class OpenWebui(Speaker):
    """Open WebUI: the whole chat is posted, a tree of messages in it."""

    def chat(self, chat_id: str) -> str:
        return f"/api/v1/chats/{chat_id}"

    def body(self, text: str) -> Any:
        message: dict[str, Any] = {
            "id": "m1",
            "parentId": None,
            "childrenIds": [],
            "role": "user",
            "content": text,
            "timestamp": 1,
        }
        return {"chat": {"title": text, "history": {"messages": {"m1": message}, "currentId": "m1"}}}

    async def make(self, world: World, caller: Caller) -> tuple[str, Said]:
        said = [("user", QUESTION), ("assistant", "South."), ("user", "All of them?"), ("assistant", "Most.")]
        tree: dict[str, Any] = {
            "side": self._node("side", "m1", [], "assistant", "Not on the current branch.", 9)
        }
        for place, (role, text) in enumerate(said, 1):
            children = [f"m{place + 1}"] if place < len(said) else []
            parent = f"m{place - 1}" if place > 1 else None
            tree[f"m{place}"] = self._node(f"m{place}", parent, children, role, text, place)
        tree["m1"]["childrenIds"] = ["side", "m2"]
        whole = {"title": "Birds", "history": {"messages": tree, "currentId": f"m{len(said)}"}}
        made = await self.ask(world, caller, "POST", self.chats, {"chat": whole})
        return made["id"], said

    async def path(self, world: World, caller: Caller, chat_id: str) -> Said:
        history = (await self.ask(world, caller, "GET", self.chat(chat_id)))["chat"]["history"]
        path: Said = []
        at = history["currentId"]
        while at is not None:
            message = history["messages"][at]
            path.insert(0, (message["role"], message["content"]))
            at = message["parentId"]
        return path

    def check_error(self, answer: httpx.Response) -> None:
        assert answer.headers["content-type"] == "application/json"
        assert list(answer.json()) == ["detail"]
        detail = answer.json()["detail"]
        if answer.status_code == 422:
            assert detail, "a failed validation names no fault"
            assert all({"type", "loc", "msg"} <= fault.keys() for fault in detail)
        else:
            assert isinstance(detail, str)

    def _node(
        self, key: str, parent: str | None, children: list[str], role: str, text: str, at: int
    ) -> dict[str, Any]:
        node = {
            "id": key,
            "parentId": parent,
            "childrenIds": children,
            "role": role,
            "content": text,
            "timestamp": at,
        }
        return node if role == "user" else {**node, "model": "scripted", "done": True}


class Lexicon(Speaker):
    """Lexicon Labs: chats are made without messages; what is said goes over the WebSocket, here by the native API."""

    def chat(self, chat_id: str) -> str:
        return f"/api/v1/chats/{chat_id}"

    def body(self, text: str) -> Any:
        return {"user_id": "pupil-1", "title": text, "metadata": {"note": text}}

    async def make(self, world: World, caller: Caller) -> tuple[str, Said]:
        made = await self.ask(world, caller, "POST", self.chats, {"user_id": "pupil-1"})
        said = [("user", QUESTION), ("assistant", "South.")]
        messages = [{"role": role, "content": text} for role, text in said]
        await world.native("POST", f"/chats/{made['id']}/messages", caller, messages=messages)
        return made["id"], said

    async def path(self, world: World, caller: Caller, chat_id: str) -> Said:
        found = await self.ask(world, caller, "GET", self.chat(chat_id) + "/messages")
        return [(each["sender_role"], each["content"]) for each in found["messages"]]

    def check_error(self, answer: httpx.Response) -> None:
        assert answer.headers["content-type"] == "application/json"
        assert list(answer.json()) == ["error", "message"]
        assert answer.json()["error"] == answer.status_code
        assert isinstance(answer.json()["message"], str)


class Synthflow(Speaker):
    """Synthflow: a session with an agent under a UUID of the client's own; the agent greets and answers."""

    def chat(self, chat_id: str) -> str:
        return f"/v2/chat/{chat_id}"

    def body(self, text: str) -> Any:
        return {"model_id": text, "metadata": {"note": text}}

    async def make(self, world: World, caller: Caller) -> tuple[str, Said]:
        agents = (await self.ask(world, caller, "GET", "/v2/assistants/"))["response"]["assistants"]
        chat_id = str(UUID(int=UUID(SESSION).int + world.clock.now_us() % 1_000_000))
        await self.ask(world, caller, "POST", self.chat(chat_id), {"model_id": agents[0]["model_id"]})
        await self.ask(world, caller, "POST", self.chat(chat_id) + "/messages", {"message": QUESTION})
        greeting = agents[0]["agent"]["greeting_message"]
        return chat_id, [("assistant", greeting), ("user", QUESTION), ("assistant", REPLY)]

    async def path(self, world: World, caller: Caller, chat_id: str) -> Said:
        found = await self.ask(world, caller, "GET", self.chat(chat_id))
        history = found["response"]["conversation_history"]
        return [("user" if each["agent_id"] == "user" else "assistant", each["message"]) for each in history]

    def check_error(self, answer: httpx.Response) -> None:
        assert answer.headers["content-type"] == "application/json"
        assert list(answer.json()) == ["detail"]
        assert isinstance(answer.json()["detail"], str)


# `not_found` is that of GET; `invalid` that of a field; `malformed` that of a body that is not strict JSON.
NATIVE = Native(
    "native",
    "/chatkeep/v1",
    "/chats",
    _bearer,
    {"not_found": 404, "invalid": 422, "malformed": 400},
    may_be_silent=True,
)
CUADRA = Cuadra(
    "cuadra", "/cuadra", "/v1/chats", _bearer, {"not_found": 404, "invalid": 422, "malformed": 400}
)
OPENWEBUI = OpenWebui(
    "openwebui",
    "/openwebui",
    "/api/v1/chats/new",
    _bearer,
    {"not_found": 401, "invalid": 422, "malformed": 422},
)
LEXICON = Lexicon(
    "lexicon",
    "/lexicon",
    "/api/v1/chats/",
    lambda secret: {"x-api-key": secret},
    {"not_found": 404, "invalid": 400, "malformed": 400},
)
SYNTHFLOW = Synthflow(
    "synthflow",
    "/synthflow",
    f"/v2/chat/{SESSION}",
    _bearer,
    {"not_found": 404, "invalid": 400, "malformed": 400},
)
SPEAKERS: tuple[Speaker, ...] = (NATIVE, CUADRA, OPENWEBUI, LEXICON, SYNTHFLOW)
