"""What the tests of the Open WebUI dialect share: its printed example, a full tree, and short ways to ask."""

from __future__ import annotations

import copy
from typing import Any

import httpx

from tests.world import Caller, World

CHATS = "/api/v1/chats"
PREFIX = "/openwebui"
NOT_FOUND = {"detail": "We could not find what you're looking for :/"}
PROHIBITED = {
    "detail": "You do not have permission to access this resource. "
    "Please contact your administrator for assistance."
}
# The example of the vendor's page "Get Chat".
PRINTED: dict[str, Any] = {
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "user_id": "user-123",
    "title": "AI Assistant Conversation",
    "chat": {
        "title": "AI Assistant Conversation",
        "history": {
            "messages": {
                "msg-1": {
                    "id": "msg-1",
                    "role": "user",
                    "content": "Hello, how can you help me?",
                    "timestamp": 1709164800,
                },
                "msg-2": {
                    "id": "msg-2",
                    "role": "assistant",
                    "content": "I'm here to help! What do you need?",
                    "model": "gpt-4",
                    "timestamp": 1709164805,
                },
            },
            "currentId": "msg-2",
        },
    },
    "created_at": 1709164800,
    "updated_at": 1709251200,
    "share_id": None,
    "archived": False,
    "pinned": False,
    "meta": {"tags": ["work", "ai_help"]},
    "folder_id": None,
}
NOT_IN_SEED: dict[str, Any] = {"variables": {}, "tasks": None, "summary": None, "context_usage": None}
TREE: dict[str, Any] = {
    "id": "",
    "title": "Tree",
    "models": ["llama3:latest"],
    "params": {"temperature": 0.5, "system": "Be brief."},
    "history": {
        "messages": {
            "b2": {
                "id": "b2",
                "parentId": "q",
                "childrenIds": [],
                "role": "assistant",
                "content": "Second try",
                "model": "llama3:latest",
                "modelName": "Llama 3",
                "modelIdx": 0,
                "timestamp": 1709164830,
                "done": True,
                "followUps": ["And?"],
                "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "own": 1.5},
                "statusHistory": [{"done": True, "deep": {"er": [1, None, "x"]}}],
            },
            "q": {
                "id": "q",
                "parentId": None,
                "childrenIds": ["b1", "b2"],
                "role": "user",
                "content": "Ask",
                "timestamp": 1709164800,
                "models": ["llama3:latest"],
                "files": [],
            },
            "b1": {
                "id": "b1",
                "parentId": "q",
                "childrenIds": [],
                "role": "assistant",
                "content": "",
                "error": {"content": "Upstream said no"},
                "timestamp": 1709164805,
                "done": True,
            },
        },
        "currentId": "b2",
        "whatever": {"kept": True},
    },
    "messages": [{"id": "q", "role": "user", "content": "Ask"}],
    "files": [],
    "tags": ["ui-side"],
    "timestamp": 1709164800123,
    "unknown": {"nested": [1, 2.5, None, {"é": "ü"}]},
}


async def ask(
    world: World, method: str, path: str, caller: Caller | None = None, **more: Any
) -> httpx.Response:
    """One request at the root with the owner's key, or another's."""
    headers = {**(caller or world.owner).bearer, **more.pop("headers", {})}
    return await world.client.request(method, path, headers=headers, **more)


async def make(
    world: World, chat: dict[str, Any], caller: Caller | None = None, **body: Any
) -> dict[str, Any]:
    response = await ask(world, "POST", f"{CHATS}/new", caller, json={"chat": chat, **body})
    assert response.status_code == 200, response.text
    made: dict[str, Any] = response.json()
    return made


async def read(world: World, chat_id: str, caller: Caller | None = None) -> dict[str, Any]:
    response = await ask(world, "GET", f"{CHATS}/{chat_id}", caller)
    assert response.status_code == 200, response.text
    got: dict[str, Any] = response.json()
    return got


def attributed(chat: dict[str, Any], user_id: str, name: str) -> dict[str, Any]:
    """The chat as posted, with what the server says about who wrote what."""
    expected = copy.deepcopy(chat)
    for message in expected["history"]["messages"].values():
        message["user_id"] = user_id
        if message["role"] == "user":
            message["user"] = {"id": user_id, "name": name}
    return expected
