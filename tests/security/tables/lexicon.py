"""Lexicon's routes. The tenant's backend acts for its users: whoever is no administrator only for itself."""

from __future__ import annotations

from tests.security.declared import Manners, Row, Table

CHATS = "/api/v1/chats/"
CHAT = "/api/v1/chats/{chat_id}"
LESSON = {"chat_id": "@lexicon_chat"}
READ, WRITE = "chat:read", "chat:write"
NEW = {"user_id": "@external", "title": "lesson", "metadata": {"a": 1}}
MADE_FOR_ANYBODY = {"body.user_id": 201}
FOR_ITSELF = {"A member": 403, "A read-only": 403}
"""Whoever is no administrator may not even ask for somebody else, known or not."""

ROWS = (
    Row(method="GET", path="/openapi.json", is_public=True),
    Row(method="GET", path="/docs", is_public=True),
    *(
        Row(
            method="POST",
            path=path,
            body=NEW,
            scope=WRITE,
            ok=201,
            statuses={"A member": 403},
            wrong=MADE_FOR_ANYBODY,
            is_fresh=True,
        )
        for path in (CHATS, CHATS.rstrip("/"))
    ),
    Row(
        method="POST",
        path=CHATS,
        body={"user_id": "@extra_external"},
        scope=WRITE,
        ok=201,
        wrong=MADE_FOR_ANYBODY,
        is_fresh=True,
        is_partial=True,
    ),
    Row(
        method="POST",
        path=CHATS,
        body={"user_id": "@person"},
        scope=WRITE,
        ok=201,
        wrong=MADE_FOR_ANYBODY,
        is_fresh=True,
        is_partial=True,
    ),
    Row(
        method="GET",
        path=CHATS + "user/{user_id}",
        at={"user_id": "@external"},
        query={"limit": "5"},
        scope=READ,
        reach="managed",
        statuses=FOR_ITSELF,
    ),
    Row(
        method="GET",
        path=CHATS + "user/{user_id}",
        at={"user_id": "@extra_external"},
        query={"order": "asc", "limit": "1"},
        scope=READ,
        is_partial=True,
    ),
    Row(
        method="GET",
        path=CHATS + "user/{user_id}",
        at={"user_id": "@owner"},
        query={"offset": "1", "limit": "2"},
        scope=READ,
        is_partial=True,
    ),
    Row(method="GET", path=CHAT, at=LESSON, scope=READ, reach="managed"),
    Row(method="GET", path=CHAT + "/messages", at=LESSON, scope=READ, reach="managed"),
    Row(
        method="GET",
        path=CHAT + "/messages",
        at=LESSON,
        query={"order": "desc", "limit": "1"},
        scope=READ,
        reach="managed",
        is_partial=True,
    ),
    Row(method="DELETE", path=CHAT, at=LESSON, scope=WRITE, reach="managed"),
    # A WebSocket is open in A's chat and in none of the twins'.
    Row(
        method="DELETE",
        path=CHAT,
        at={"chat_id": "@talked"},
        scope=WRITE,
        reach="managed",
        ok=409,
        of_twin=200,
        is_partial=True,
    ),
)

TABLE = Table("lexicon", Manners(lambda secret: {"x-api-key": secret}, invalid=400), ROWS)
