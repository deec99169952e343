"""The native dialect's routes."""

from __future__ import annotations

from tests.security.declared import Manners, Row, Table

CHAT = "/chats/{chat_id}"
READ, WRITE, INVOKE = "chat:read", "chat:write", "chat:invoke"
NOWHERE = {"query.owner": 200, "query.folder_id": 200, "query.model_id": 200, "query.cursor": 200}
CARD = {"display_name": "another", "context_window": 4096}
SAID = {"role": "user", "content": "hello"}

ROWS = (
    Row(method="GET", path="/openapi.json", is_public=True),
    Row(method="GET", path="/docs", is_public=True),
    Row(method="GET", path="/me"),
    # models
    Row(method="GET", path="/models", scope="models:read"),
    Row(
        method="GET",
        path="/models",
        query={"cursor": "@models_cursor", "limit": "5"},
        scope="models:read",
        malformed={"query.cursor": 422},
        is_partial=True,
    ),
    Row(method="POST", path="/models", body=CARD, scope="models:write", ok=201),
    Row(
        method="POST",
        path="/models",
        body={**CARD, "parent_model_id": "@system_model"},
        scope="models:write",
        ok=201,
        opaque=frozenset({"profile_id", "system_prompt_id"}),
        is_partial=True,
    ),
    Row(method="GET", path="/models/{model_id}", scope="models:read"),
    Row(
        method="PUT",
        path="/models/{model_id}",
        body={**CARD, "parent_model_id": "@system_model"},
        scope="models:write",
        opaque=frozenset({"profile_id", "system_prompt_id"}),
    ),
    Row(method="DELETE", path="/models/{model_id}", scope="models:write", ok=204),
    # chats
    Row(method="POST", path="/chats", body={"title": "new", "messages": [SAID]}, scope=WRITE, ok=201),
    Row(
        method="POST",
        path="/chats",
        body={
            "title": "new",
            "visibility": "shared",
            "model_id": "@model",
            "folder_id": "@folder",
            "shared_with": ["@person"],
            "messages": [{**SAID, "id": "m-1"}, {**SAID, "id": "m-2", "parent_id": "m-1"}],
        },
        opaque=frozenset(
            {"messages.id", "messages.tool_call_id", "messages.tool_calls.id"}
        ),  # the client's own, unique in its new chat only
        scope=WRITE,
        reach="personal",
        ok=201,
        statuses={"A admin": 422, "A m2m token": 422, "A member": 422},
        is_partial=True,
    ),
    Row(
        method="POST",
        path="/chats",
        body={"id": "@chat"},
        scope=WRITE,
        ok=409,
        wrong={"body.id": 201},
        malformed={"body.id": 201},
        is_fresh=True,
        is_partial=True,
    ),
    Row(
        method="POST",
        path="/chats",
        body={"messages": [{**SAID, "parent_id": "@message"}]},
        scope=WRITE,
        ok=422,
        is_partial=True,
    ),
    Row(method="GET", path="/chats", scope=READ),
    Row(method="GET", path="/chats", query={"owner": "any", "deleted": "true"}, scope=READ, is_partial=True),
    Row(
        method="GET",
        path="/chats",
        query={"owner": "@owner", "folder_id": "@folder", "model_id": "@model", "tag": "Tag kanarienvogel"},
        scope=READ,
        wrong=NOWHERE,
        is_partial=True,
    ),
    Row(
        method="GET",
        path="/chats",
        query={"owner": "any", "cursor": "@chats_cursor"},
        scope=READ,
        malformed={"query.cursor": 422},
        is_partial=True,
    ),
    Row(method="GET", path=CHAT, scope=READ, reach="managed"),
    Row(
        method="GET",
        path=CHAT,
        query={"expand": ["messages", "model"]},
        scope=READ,
        reach="managed",
        is_partial=True,
    ),
    Row(method="PATCH", path=CHAT, body={"title": "changed"}, scope=WRITE, reach="managed"),
    Row(
        method="PATCH",
        path=CHAT,
        body={
            "model_id": "@model",
            "folder_id": "@folder",
            "visibility": "shared",
            "shared_with": ["@person"],
            "current_message_id": "@message",
        },
        scope=WRITE,
        reach="managed",
        is_partial=True,
    ),
    Row(method="DELETE", path=CHAT, scope=WRITE, reach="managed", ok=204),
    Row(method="POST", path=CHAT + "/restore", at={"chat_id": "@deleted"}, scope=WRITE, reach="managed"),
    *(
        Row(
            method="PATCH",
            path=CHAT,
            at={"chat_id": "@shared"},
            body=change,
            scope=WRITE,
            reach="managed",
            is_partial=True,
        )
        for change in (
            {"shared_with": [], "tags": ["another"]},
            {"shared_with": ["@extra_person"]},
            {"model_id": "@extra_model"},
            {"folder_id": "@extra_folder"},
        )
    ),
    Row(method="GET", path=CHAT, at={"chat_id": "@shared"}, scope=READ, is_partial=True),
    Row(
        method="PATCH",
        path=CHAT,
        at={"chat_id": "@shared"},
        body={"current_message_id": "@extra_message"},
        scope=WRITE,
        reach="managed",
        is_partial=True,
    ),
    # messages
    Row(
        method="POST",
        path=CHAT + "/messages",
        body={"messages": [SAID]},
        scope=WRITE,
        reach="managed",
        ok=201,
    ),
    Row(
        method="POST",
        path=CHAT + "/messages",
        body={"messages": [{**SAID, "parent_id": "@message"}]},
        scope=WRITE,
        reach="managed",
        ok=201,
        is_partial=True,
    ),
    Row(
        method="POST",
        path=CHAT + "/messages",
        body={"messages": [{**SAID, "id": "@answer"}]},
        opaque=frozenset({"messages.tool_call_id", "messages.tool_calls.id"}),
        scope=WRITE,
        reach="managed",
        ok=409,
        wrong={"body.messages.0.id": 201},
        malformed={"body.messages.0.id": 201},
        is_fresh=True,
        is_partial=True,
    ),
    Row(
        method="GET", path=CHAT + "/messages", scope=READ, reach="managed", opaque=frozenset({"cursor"})
    ),  # a number
    Row(
        method="GET",
        path=CHAT + "/messages",
        query={"branch": "all", "order": "desc"},
        scope=READ,
        reach="managed",
        is_partial=True,
    ),
    Row(method="POST", path=CHAT + "/generate", body={"message": "hello"}, scope=INVOKE, reach="managed"),
    Row(
        method="POST",
        path=CHAT + "/generate",
        body={"message": "hello", "model_id": "@model", "stream": True},
        opaque=frozenset(
            {"tool_results.tool_call_id"}
        ),  # a name of the chat's own, and found on its path only
        scope=INVOKE,
        reach="managed",
        is_partial=True,
    ),
    Row(
        method="POST",
        path=CHAT + "/messages",
        at={"chat_id": "@shared"},
        body={"messages": [{**SAID, "parent_id": "@extra_message"}]},
        scope=WRITE,
        reach="managed",
        ok=201,
        is_partial=True,
    ),
    Row(method="GET", path=CHAT + "/messages", at={"chat_id": "@shared"}, scope=READ, is_partial=True),
    Row(method="GET", path=CHAT, at={"chat_id": "@busy"}, scope=READ, reach="managed", is_partial=True),
    # answers
    Row(method="POST", path=CHAT + "/regenerate", body={}, scope=INVOKE, reach="managed"),
    Row(
        method="POST",
        path=CHAT + "/regenerate",
        body={"message_id": "@answer", "model_id": "@model"},
        scope=INVOKE,
        reach="managed",
        is_partial=True,
    ),
    Row(method="POST", path=CHAT + "/continue", body={}, scope=INVOKE, reach="managed"),
    Row(
        method="POST",
        path=CHAT + "/continue",
        body={"message_id": "@answer", "model_id": "@model", "stream": True},
        scope=INVOKE,
        reach="managed",
        is_partial=True,
    ),
    Row(
        method="POST",
        path=CHAT + "/messages/{message_id}/edit",
        body={"content": "hello"},
        scope=INVOKE,
        reach="managed",
        wrong={"path.message_id": 422},
    ),
    Row(
        method="POST",
        path=CHAT + "/messages/{message_id}/edit",
        body={"content": "hello", "model_id": "@model"},
        scope=INVOKE,
        reach="managed",
        wrong={"path.message_id": 422},
        is_partial=True,
    ),
    Row(method="POST", path=CHAT + "/stop", at={"chat_id": "@busy"}, body={}, scope=INVOKE, reach="managed"),
    Row(
        method="POST",
        path=CHAT + "/stop",
        at={"chat_id": "@busy"},
        body={"run_id": "@run"},
        scope=INVOKE,
        reach="managed",
        wrong={"body.run_id": 404},
        is_partial=True,
    ),
    Row(method="GET", path=CHAT + "/runs", at={"chat_id": "@busy"}, scope=READ, reach="managed"),
    Row(
        method="GET",
        path=CHAT + "/runs",
        at={"chat_id": "@busy"},
        query={"cursor": "@runs_cursor"},
        scope=READ,
        reach="managed",
        malformed={"query.cursor": 422},
        is_partial=True,
    ),
    Row(method="GET", path=CHAT + "/runs/{run_id}", at={"chat_id": "@busy"}, scope=READ, reach="managed"),
    # the journal
    Row(method="GET", path=CHAT + "/events", query={"after": 0, "wait_s": 0}, scope=READ, reach="managed"),
    Row(
        method="GET", path=CHAT + "/events", query={"wait_s": 0}, scope=READ, reach="managed", is_partial=True
    ),
    Row(method="GET", path=CHAT + "/events", scope=READ, reach="managed", is_partial=True),
    Row(
        method="GET",
        path=CHAT + "/events",
        at={"chat_id": "@busy"},
        query={"after": 2},
        scope=READ,
        reach="managed",
        is_partial=True,
    ),
    # folders
    Row(method="GET", path="/folders", scope=READ),
    Row(method="POST", path="/folders", body={"name": "new folder"}, scope=WRITE, ok=201),
    Row(method="PATCH", path="/folders/{folder_id}", body={"name": "renamed"}, scope=WRITE, reach="personal"),
    Row(method="DELETE", path="/folders/{folder_id}", scope=WRITE, reach="personal", ok=204),
    # documents
    Row(method="GET", path=CHAT + "/documents", scope=READ, reach="managed"),
    Row(
        method="POST",
        path=CHAT + "/documents",
        body={"filename": "a.txt", "text": "b"},
        scope=WRITE,
        reach="managed",
        ok=201,
    ),
    Row(method="GET", path=CHAT + "/documents/{document_id}", scope=READ, reach="managed"),
    Row(method="DELETE", path=CHAT + "/documents/{document_id}", scope=WRITE, reach="managed", ok=204),
    # shares
    Row(method="POST", path=CHAT + "/share", scope=WRITE, reach="managed"),
    Row(method="DELETE", path=CHAT + "/share", scope=WRITE, reach="managed", ok=204),
    Row(method="GET", path="/shares/{share_id}", scope=READ),
)

TABLE = Table("native", Manners(lambda secret: {"authorization": f"Bearer {secret}"}), ROWS)
