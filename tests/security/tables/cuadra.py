"""Cuadra's routes."""

from __future__ import annotations

from tests.security.declared import Manners, Row, Table

CHATS = "/v1/chats"
CHAT = "/v1/chats/{chat_id}"
READ, WRITE, INVOKE = "chat:read", "chat:write", "chat:invoke"
SAID = [{"role": "user", "content": "hello"}]
OPAQUE = frozenset({"messages.toolCallId", "messages.toolCalls.id", "fileIds"})  # texts, and not served
DELETED, WITH_DELETED = {"chat_id": "@deleted"}, {"includeDeleted": "true"}
GRANT = {"grant_type": "client_credentials", "client_id": "@client", "client_secret": "$client_secret"}

ROWS = (
    Row(method="GET", path="/openapi.json", is_public=True),
    Row(method="GET", path="/docs", is_public=True),
    Row(method="GET", path="/.well-known/jwks.json", is_public=True),
    Row(
        method="POST",
        path="/v1/oauth2/token",
        body=GRANT,
        is_public=True,
        has_twins=False,  # a secret is unique on the whole server
        wrong={"body.client_id": 401},
        malformed={"body.client_id": 401},
    ),
    Row(method="POST", path=CHATS, body={"messages": SAID}, scope=INVOKE),
    Row(
        method="POST",
        path=CHATS,
        body={"messages": SAID, "chatId": "@chat", "modelId": "@model"},
        scope=INVOKE,
        reach="managed",
        wrong={"body.chatId": 404, "body.modelId": 404},
        is_partial=True,
    ),
    Row(
        method="POST",
        path=CHATS,
        body={"messages": SAID, "chatId": "@shared", "stream": True},
        scope=INVOKE,
        reach="managed",
        wrong={"body.chatId": 404},
        is_partial=True,
    ),
    Row(
        method="POST",
        path=CHATS,
        body={"messages": SAID, "modelId": "@extra_model", "ephemeral": True},
        scope=INVOKE,
        wrong={"body.modelId": 404},
        is_partial=True,
    ),
    Row(method="GET", path=CHATS, scope=READ),
    Row(method="GET", path=CHATS, query={"expand[]": "model"}, scope=READ, is_partial=True),
    Row(
        method="GET",
        path=CHATS,
        query={"cursor": "@chats_cursor"},
        scope=READ,
        malformed={"query.cursor": 422},
        is_partial=True,
    ),
    Row(method="GET", path=CHAT, scope=READ, reach="managed"),
    Row(method="GET", path=CHAT, query={"expand[]": "model"}, scope=READ, reach="managed", is_partial=True),
    Row(method="GET", path=CHAT, at=DELETED, query=WITH_DELETED, scope="org:admin", reach="managed"),
    Row(
        method="GET",
        path=CHAT,
        at=DELETED,
        query={**WITH_DELETED, "expand[]": "model"},
        scope=READ,  # which org:admin is not
        reach="managed",
        is_partial=True,
    ),
    Row(method="PATCH", path=CHAT, body={"title": "changed"}, scope=WRITE, reach="managed"),
    Row(
        method="PATCH",
        path=CHAT,
        body={"visibility": "shared", "sharedWith": ["@person"]},
        scope=WRITE,
        reach="managed",
        is_partial=True,
    ),
    Row(
        method="PATCH",
        path=CHAT,
        at={"chat_id": "@shared"},
        body={"sharedWith": ["@extra_person"]},
        scope=WRITE,
        reach="managed",
        is_partial=True,
    ),
    Row(method="DELETE", path=CHAT, scope=WRITE, reach="managed", ok=204),
    Row(method="GET", path="/v1/models", scope="models:read"),
    Row(
        method="GET",
        path="/v1/models",
        query={"cursor": "@models_cursor"},
        scope="models:read",
        malformed={"query.cursor": 422},
        is_partial=True,
    ),
    Row(method="GET", path="/v1/models/{model_id}", scope="models:read"),
)

TABLE = Table("cuadra", Manners(lambda secret: {"authorization": f"Bearer {secret}"}), ROWS, OPAQUE)
