"""Open WebUI's routes. What may not be done is 401 there, and so is a chat that is not there to whoever reads it."""

from __future__ import annotations

from typing import Any

from tests.security.declared import Manners, Row, Table

NEW = ("/api/v1/chats/new", "/api/chats/new")
CHAT = ("/api/v1/chats/{chat_id}", "/api/chats/{chat_id}")
AUTHS = "/api/v1/auths"
READ, WRITE = "chat:read", "chat:write"
NOBODY_SIGNED_IN = {"A session token": 200}


def _whole(model: str) -> dict[str, Any]:
    question = {
        "id": "q",
        "parentId": None,
        "childrenIds": ["a"],
        "role": "user",
        "content": "hello",
        "timestamp": 1,
    }
    answer = {
        "id": "a",
        "parentId": "q",
        "childrenIds": [],
        "role": "assistant",
        "content": "hi",
        "model": model,
    }
    history = {"messages": {"q": question, "a": {**answer, "timestamp": 2}}, "currentId": "a"}
    return {"title": "new", "models": [model], "history": history}


ROWS = (
    Row(method="GET", path="/openapi.json", is_public=True),
    Row(method="GET", path="/docs", is_public=True),
    Row(
        method="POST",
        path=f"{AUTHS}/signup",
        body={"name": "new", "email": "new@example.org", "password": "correct horse"},
        is_public=True,
        ok=403,  # somebody has signed up, and so it is closed; the positive control is in the flows
        has_control=False,
    ),
    Row(
        method="POST",
        path=f"{AUTHS}/signin",
        body={"email": "@email", "password": "$password"},
        is_public=True,
        has_twins=False,  # an address is unique on the whole server
        wrong={"body.email": 400},
    ),
    *(Row(method="GET", path=path, ok=403, statuses=NOBODY_SIGNED_IN) for path in (AUTHS, f"{AUTHS}/")),
    Row(method="POST", path=f"{AUTHS}/signout", is_public=True),
    *(Row(method="POST", path=path, body={"chat": _whole("scripted")}, scope=WRITE) for path in NEW),
    Row(
        method="POST",
        path=NEW[0],
        body={"chat": _whole("@model"), "folder_id": "@folder"},
        scope=WRITE,
        reach="personal",
        wrong={"body.folder_id": 404, "body.chat.models.0": 200, "body.chat.history.messages.a.model": 200},
        is_fresh=True,
        is_partial=True,
    ),
    *(
        Row(method="GET", path=path + end, scope=READ, reach="managed", not_found=401)
        for path in CHAT
        for end in ("", "/")
    ),
    *(Row(method="DELETE", path=path, scope=WRITE, reach="managed") for path in CHAT),
    Row(
        method="POST",
        path=NEW[1],
        body={"chat": {"title": "new"}, "folder_id": "@folder"},
        scope=WRITE,
        reach="personal",
        wrong={"body.folder_id": 404},
        is_partial=True,
    ),
)

TABLE = Table("openwebui", Manners(lambda secret: {"authorization": f"Bearer {secret}"}, no_scope=401), ROWS)
