"""The pages' answer schemas as JSON Schema, and every field in them by its dotted path.

Synthflow's is the page's own OpenAPI document, Open WebUI's and Lexicon's are read from their lists of fields. Cuadra's
page has lost the names: its order of descriptions is written down here, with the names that contracts/cuadra.md A3.5
gives them, and `cuadra_descriptions_left` tells what of the page that does not account for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs

from tests.clients import seeds
from tests.clients.seeds import Json

TEXT: Json = {"type": "string"}
TIME: Json = {"type": "string", "format": "date-time"}
FLAG: Json = {"type": "boolean"}
COUNT: Json = {"type": "integer", "minimum": 0}
MAP: Json = {"type": "object"}


def or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def whole(properties: Json) -> Json:
    """An object that has every one of these properties."""
    return {"type": "object", "properties": properties, "required": list(properties)}


# The page's description, what it prints after it (a limit, values, an example), and the field it is about.
CUADRA_ROWS: tuple[tuple[str, str, str, Json], ...] = (
    ("Timestamp when the resource was created", '"2024-01-15T10:30:00Z"', "createdAt", TIME),
    ("Timestamp when the resource was last updated", '"2024-01-15T14:45:00Z"', "updatedAt", TIME),
    (
        "Organization ID for tenant isolation",
        '1 - 64"org_abc123"',
        "organizationId",
        {**TEXT, "minLength": 1, "maxLength": 64},
    ),
    ("Unique chat identifier", '"chat_abc123"', "id", TEXT),
    ("Identifier of the AI model used for this chat.", '"model_large-model"', "modelId", TEXT),
    ("ID of the user who created this chat", '"user_xyz789"', "createdBy", TEXT),
    ("Chat title", '500"Product Support Chat"', "title", or_null({**TEXT, "maxLength": 500})),
    (
        "System-level instructions for the AI model.",
        '"You are a helpful customer support assistant."',
        "systemPrompt",
        or_null(TEXT),
    ),
    ("", "", "metadata", or_null(MAP)),
    (
        "Operational status of the chat. 'generating' indicates a background stream is actively running (poll again). "
        "'error' indicates the last stream was interrupted or failed. null indicates the chat is in a normal, idle "
        "state.",
        'generating, error "generating"',
        "status",
        {"enum": ["generating", "error", None]},
    ),
    (
        "Human-readable description of the last error, if status is 'error'.",
        '"Stream interrupted (client disconnect or network error)"',
        "lastError",
        or_null(TEXT),
    ),
    ("Timestamp of the last error, if status is 'error'.", "", "lastErrorAt", or_null(TIME)),
    ("Full model object (included when expanded with ?expand[]=model)", "{model}", "model", or_null(MAP)),
    ("Messages in this chat", "", "messages", {"type": "array", "items": MAP}),
    ("Total number of documents associated with the chat.", "x >= 03", "documentsCount", COUNT),
    (
        "Chat visibility level",
        'private, organization, shared "private"',
        "visibility",
        {"enum": ["private", "organization", "shared"]},
    ),
    (
        "List of user IDs this chat is shared with",
        '["user_123", "user_456"]',
        "sharedWith",
        or_null({"type": "array", "items": TEXT}),
    ),
    ("Timestamp when the chat was soft-deleted", "", "deletedAt", or_null(TIME)),
    ("ID of the user who deleted this chat", "", "deletedBy", or_null(TEXT)),
    ("Request origin: api, m2m, connector", "", "source", {"enum": ["api", "m2m", "connector"]}),
    ("Specific source: dashboard, slack, google_drive, etc.", "", "sourceDetail", or_null(TEXT)),
    (
        "When true the chat has a finite TTL and will be automatically deleted once ephemeral_expires_at is reached.",
        "",
        "ephemeral",
        FLAG,
    ),
    (
        "UTC timestamp at which this ephemeral chat will be auto-deleted. Null for non-ephemeral chats.",
        "",
        "ephemeralExpiresAt",
        or_null(TIME),
    ),
)

# contracts/cuadra.md A3.6: what a message has beside the required ones may be null.
CUADRA_MESSAGE = whole(
    {
        "role": {"enum": ["user", "assistant", "system", "tool"]},
        "id": TEXT,
        "chatId": TEXT,
        "createdAt": TIME,
        "content": or_null(TEXT),
        "tokenCount": or_null(COUNT),
        "cost": or_null(TEXT),
        "responseTimeMs": or_null(COUNT),
        "metadata": or_null(MAP),
        "toolCallId": or_null(TEXT),
        "toolCalls": or_null({"type": "array"}),
        "files": or_null({"type": "array"}),
    }
)
CUADRA_MODEL_REQUIRED = (  # A3.7
    "id",
    "displayName",
    "contextWindow",
    "supportsStreaming",
    "enabled",
    "isSystemModel",
    "createdAt",
    "updatedAt",
)
TYPES: dict[type, str] = {str: "string", bool: "boolean", int: "number", dict: "object", list: "array"}


def cuadra_descriptions_left() -> str:
    """What the page says about the answer beyond `CUADRA_ROWS`, taken in their order."""
    page = seeds.page("cuadra")
    place = page.index(start := "Chat response with full details.\n") + len(start)
    left = ""
    for description, printed, _, _ in CUADRA_ROWS:
        for text in (description, printed):
            text = _printed_model() if text == "{model}" else text
            found = page.index(text, place)
            left += page[place:found].strip()
            place = found + len(text)
    return left + page[place:].strip()


def _printed_model() -> str:
    page = seeds.page("cuadra")
    start = page.index('{\n"contextWindow"')
    return page[start : start + json.JSONDecoder().raw_decode(page[start:])[1]]


@cache
def validator(dialect: str) -> jsonschema_rs.Draft202012Validator:
    """Checks an answer against the page's schema, with every field that the page has required to be there."""
    return jsonschema_rs.Draft202012Validator(schema(dialect), validate_formats=True)


def check(dialect: str, answer: Any) -> None:
    """Assert that an answer is what the page says."""
    faults = [
        f"{list(fault.instance_path)}: {fault.message}" for fault in validator(dialect).iter_errors(answer)
    ]
    assert faults == []


def schema(dialect: str) -> Json:
    """The schema of one chat's answer."""
    return {"cuadra": _cuadra, "openwebui": _openwebui, "lexicon": _lexicon, "synthflow": _synthflow}[
        dialect
    ]()


def _cuadra() -> Json:
    fields = {name: described for _, _, name, described in CUADRA_ROWS}
    model = {name: _like(name, value) for name, value in seeds.printed_object("cuadra").items()}
    messages = {"type": "array", "items": CUADRA_MESSAGE}
    return whole({**fields, "model": or_null(whole(model)), "messages": messages})


def _like(name: str, value: Any) -> Json:
    if name.endswith("At"):
        return TIME
    alike = {"type": TYPES[type(value)]}
    return alike if name in CUADRA_MODEL_REQUIRED else or_null(alike)


def _openwebui() -> Json:
    printed = seeds.printed_object("openwebui")["chat"]["history"]["messages"]["msg-1"]
    message = whole({name: {"type": TYPES[type(value)]} for name, value in printed.items()})
    message["properties"]["model"] = TEXT
    history = whole(
        {"messages": {"type": "object", "additionalProperties": message}, "currentId": or_null(TEXT)}
    )
    chat = whole({"title": TEXT, "history": history})
    meta = {"type": "object", "properties": {"tags": {"type": "array", "items": TEXT}}}
    return whole({**seeds.openwebui_fields(), "chat": chat, "meta": meta})


def _lexicon() -> Json:
    config = whole({"metadata": MAP})
    return whole({**seeds.lexicon_fields(), "config": config})


def _synthflow() -> Json:
    components = seeds.synthflow_document()["components"]
    for name, described in components["schemas"].items():
        # A variable that was not collected has no value, and none of the types allows null.
        if described.get("type") == "object" and name != "FsmAgentLogVariables":
            described["required"] = list(described.get("properties", {}))
    return {"$ref": "#/components/schemas/Chat_get-chat_Response_200", "components": components}


def fields(dialect: str) -> list[str]:
    """The dotted path of every field that the page names; `*` stands for one of many."""
    if dialect == "synthflow":
        document = seeds.synthflow_document()
        root = {"$ref": "#/components/schemas/Chat_get-chat_Response_200"}
        return [path for path in _described(document["components"]["schemas"], root, "") if path]
    if dialect == "cuadra":
        names = [name for _, _, name, _ in CUADRA_ROWS]
        return names + [f"model.{name}" for name in seeds.printed_object("cuadra")]
    listed = seeds.openwebui_fields() if dialect == "openwebui" else seeds.lexicon_fields()
    printed = _printed(seeds.printed_object(dialect), "")
    return list(dict.fromkeys([*listed, *printed]))


def _printed(value: Any, path: str) -> Iterator[str]:
    """The paths in a printed object; the ids of messages, and what a customer keeps in its own bag, are no fields."""
    if path == "config.metadata" or not isinstance(value, dict):
        return
    for name, inner in value.items():
        at = f"{path}.{'*' if path.endswith('messages') else name}".removeprefix(".")
        if not at.endswith("*"):
            yield at
        yield from _printed(inner, at)


def _described(schemas: Json, described: Json, path: str) -> Iterator[str]:
    if "$ref" in described:
        yield from _described(schemas, schemas[described["$ref"].rpartition("/")[2]], path)
        return
    yield path
    for choice in described.get("oneOf", []):
        if "$ref" in choice:
            yield from list(_described(schemas, choice, path))[1:]
    for name, inner in described.get("properties", {}).items():
        yield from _described(schemas, inner, f"{path}.{name}".removeprefix("."))
    many = described.get("items") or described.get("additionalProperties")
    if isinstance(many, dict) and many.keys() & {"$ref", "properties"}:
        yield from list(_described(schemas, many, f"{path}.*"))[1:]
