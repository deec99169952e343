"""Synthflow's routes. The client makes the chat's UUID, so that a foreign one is free in one's own house."""

from __future__ import annotations

from tests.security.declared import Manners, Row, Table

CHAT = "/v2/chat/{chat_id}"
SESSION = {"chat_id": "@session"}
NO_UUID = {"path.chat_id": 400}  # contract D6.2

ROWS = (
    Row(method="GET", path="/openapi.json", is_public=True),
    Row(method="GET", path="/docs", is_public=True),
    Row(method="POST", path=CHAT, at={"chat_id": "@free"}, body={"model_id": "@agent"}, scope="chat:write"),
    Row(
        method="POST",
        path=CHAT,
        at=SESSION,
        body={"model_id": "@agent"},
        scope="chat:write",
        wrong={"path.chat_id": 200},
        malformed=NO_UUID,
        is_fresh=True,
        is_partial=True,
    ),
    Row(method="GET", path=CHAT, at=SESSION, scope="chat:read", reach="managed", malformed=NO_UUID),
    Row(method="DELETE", path=CHAT, at=SESSION, scope="chat:write", reach="managed", malformed=NO_UUID),
    Row(
        method="POST",
        path=CHAT + "/messages",
        at=SESSION,
        body={"message": "hello"},
        scope="chat:invoke",
        reach="managed",
        malformed=NO_UUID,
    ),
    Row(method="GET", path="/v2/assistants/", scope="models:read"),
    Row(method="GET", path="/v2/assistants", query={"limit": "5", "offset": "0"}, scope="models:read"),
)

TABLE = Table("synthflow", Manners(lambda secret: {"authorization": f"Bearer {secret}"}, invalid=400), ROWS)
