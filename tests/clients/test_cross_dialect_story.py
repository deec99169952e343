"""One chat, one key, four clients: what was asked and answered through the native API reads the same by `curl` in every
dialect of a real server, at the root as the vendors print their URLs and under each dialect's prefix.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.serving import PATIENCE_S, Served, environment

Turns = list[tuple[str, str]]
QUESTIONS = (
    "What is the capital of France?",
    'And of Switzerland? 🇨🇭 «Grüezi»\nTwo lines, a "quote" and a tab:\t!',
)


def curl(url: str, header: str) -> Any:
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--globoff", "--header", header, url]
    done = subprocess.run(command, env=environment(), capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def of_cuadra(answer: Any) -> Turns:
    return [(each["role"], each["content"]) for each in answer["messages"]]


def of_openwebui(answer: Any) -> Turns:
    """The branch that ends in the current message, by its links."""
    history = answer["chat"]["history"]
    turns, at = [], history["currentId"]
    while at is not None:
        message = history["messages"][at]
        turns.append((message["role"], message["content"]))
        at = message["parentId"]
    return turns[::-1]


def of_lexicon(answer: Any) -> Turns:
    return [(each["sender_role"], each["content"]) for each in answer["messages"]]


def of_synthflow(answer: Any) -> Turns:
    history = answer["response"]["conversation_history"]
    return [("user" if each["agent_id"] == "user" else "assistant", each["message"]) for each in history]


BEARER = "Authorization: Bearer {key}"
READERS: tuple[tuple[str, str, str, Callable[[Any], Turns]], ...] = (
    ("cuadra", "/v1/chats/{id}", BEARER, of_cuadra),
    ("openwebui", "/api/chats/{id}", BEARER, of_openwebui),
    ("openwebui", "/api/v1/chats/{id}", BEARER, of_openwebui),
    ("lexicon", "/api/v1/chats/{id}/messages", "X-API-Key: {key}", of_lexicon),
    ("synthflow", "/v2/chat/{id}", BEARER, of_synthflow),
)


@pytest.fixture(scope="module")
def told(server: Served) -> tuple[str, Turns]:
    """A chat of two turns that the model answered, made through the native API: its id, and who said what."""
    chat_id = server.native("POST", "/chats", title="Capitals")["id"]
    turns: Turns = []
    for question in QUESTIONS:
        answer = server.native("POST", f"/chats/{chat_id}/generate", message=question)
        turns += [("user", question), ("assistant", answer["message"]["content"])]
    assert turns[1] == ("assistant", f"You said: {QUESTIONS[0]}")
    return chat_id, turns


@pytest.mark.parametrize("door", ["root", "prefix"])
@pytest.mark.parametrize(("dialect", "path", "header", "read"), READERS, ids=[each[1] for each in READERS])
def test_it_reads_the_same(
    server: Served,
    told: tuple[str, Turns],
    dialect: str,
    path: str,
    header: str,
    read: Callable[[Any], Turns],
    door: str,
) -> None:
    chat_id, turns = told
    prefix = "" if door == "root" else f"/{dialect}"
    answer = curl(f"{server.url}{prefix}{path.format(id=chat_id)}", header.format(key=server.key))
    assert read(answer) == turns


def test_every_dialect_says_the_same_about_it(server: Served, told: tuple[str, Turns]) -> None:
    chat_id, turns = told
    native = curl(f"{server.url}/chatkeep/v1/chats/{chat_id}", BEARER.format(key=server.key))
    cuadra = curl(f"{server.url}/v1/chats/{chat_id}", BEARER.format(key=server.key))
    openwebui = curl(f"{server.url}/api/chats/{chat_id}", BEARER.format(key=server.key))
    lexicon = curl(f"{server.url}/api/v1/chats/{chat_id}", f"X-API-Key: {server.key}")
    assert [(each["role"], each["content"]) for each in native["messages"]] == turns
    assert {each["title"] for each in (native, cuadra, openwebui, lexicon)} == {"Capitals"}
    assert {each["id"] for each in (native, cuadra, openwebui, lexicon)} == {chat_id}
    assert native["created_at"] == cuadra["createdAt"] == lexicon["created_at"]
    assert lexicon["message_count"] == native["message_count"] == len(turns)
    assert cuadra["modelId"] == native["model_id"] == openwebui["chat"]["models"][0]
