"""The request examples of the four pages, run as they are printed against a real server.

Each program is cut out of its page; only host, id and credential are replaced (and for Ruby the line that switches TLS
on: this server speaks plain HTTP, TLS is a proxy's business), and each replacement must find its text. Both doors are
tried: the root, as printed, and the dialect's prefix as a base URL. What is printed is compared with what was stored.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients import seeds
from tests.clients.seeds import example
from tests.clients.serving import PATIENCE_S, Served, environment
from tests.flows.command_line import invoke

NEEDS = {"bash": "curl", "javascript": "node", "python": sys.executable, "ruby": "ruby", "go": "go"}
DOORS = ("root", "prefix")
SESSION = "fe90071d-fd73-4755-87a4-6aaa0f9bfb25"

Replacements = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Said:
    """What a program printed."""

    out: str
    err: str


def run(example: seeds.Example, folder: Path, replacements: Replacements) -> Said:
    """The example as a program of its language; skips where the language is not installed."""
    needed = NEEDS[example.language]
    if shutil.which(needed) is None:
        pytest.skip(f"{needed} is not installed")
    code = example.code
    for printed, ours in replacements:
        assert printed in code, f"{example.name} does not say {printed!r}"
        code = code.replace(printed, ours)
    endings = {"bash": "sh", "javascript": "cjs", "python": "py", "ruby": "rb", "go": "go"}
    program = folder / f"example.{endings[example.language]}"
    program.write_text(code, encoding="utf-8")
    starters = {"bash": ["bash"], "go": ["go", "run"]}
    command = [*starters.get(example.language, [needed]), str(program)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Said(done.stdout, done.stderr)


def base_url(server: Served, dialect: str, door: str) -> str:
    return server.url if door == "root" else f"{server.url}/{dialect}"


# --- Open WebUI -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def openwebui_chat(server: Served) -> Any:
    """The page's chat, stored through the vendor's API."""
    made = server.ask("POST", "/api/v1/chats/new", chat=seeds.printed_object("openwebui")["chat"])
    server.native("PATCH", f"/chats/{made['id']}", tags=["Work", "AI help"])
    return made


@pytest.mark.parametrize("door", DOORS)
def test_open_webui_by_curl(server: Served, openwebui_chat: Any, tmp_path: Path, door: str) -> None:
    printed = seeds.printed_object("openwebui")
    said = run(
        example("openwebui-bash"),
        tmp_path,
        [
            ("https://your-domain.com", base_url(server, "openwebui", door)),
            (printed["id"], openwebui_chat["id"]),
            ("YOUR_API_KEY", server.key),
        ],
    )
    got = json.loads(said.out)
    assert {name: got[name] for name in ("id", "user_id", "created_at")} == {
        name: openwebui_chat[name] for name in ("id", "user_id", "created_at")
    }
    assert got["updated_at"] >= got["created_at"]
    for name in ("title", "share_id", "archived", "pinned", "meta", "folder_id"):
        assert got[name] == printed[name]
    messages, stored = got["chat"]["history"]["messages"], printed["chat"]["history"]["messages"]
    assert list(messages) == list(stored)
    for key, message in stored.items():
        assert {name: messages[key][name] for name in message} == message
    assert got["chat"]["history"]["currentId"] == printed["chat"]["history"]["currentId"]


# --- Lexicon --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lexicon_chat(server: Served) -> Any:
    """The page's chat with its dozen messages, and when the last of them was written."""
    printed = seeds.printed_object("lexicon")
    key = {"X-API-Key": server.key}
    body = {
        "user_id": printed["user_id"],
        "title": printed["title"],
        "metadata": printed["config"]["metadata"],
    }
    made = server.ask_as(key, "POST", "/api/v1/chats/", **body)
    said = [
        {"role": ("user", "assistant")[n % 2], "content": str(n)} for n in range(printed["message_count"])
    ]
    written = server.native("POST", f"/chats/{made['id']}/messages", messages=said)["items"]
    at = written[-1]["created_at"]
    return {**made, "message_count": len(said), "last_message_at": at}


def lexicon_replacements(server: Served, chat_id: str, door: str, key: str = "") -> Replacements:
    return [
        ("http://localhost:8000", base_url(server, "lexicon", door)),
        (seeds.printed_object("lexicon")["id"], chat_id),
        ("your-tenant-api-key", key or server.key),
    ]


def lexicon_lines(chat: Any) -> list[str]:
    return [
        f"Chat: {chat['title']}",
        f"Messages: {chat['message_count']}",
        f"Last activity: {chat['last_message_at']}",
        "Status: active",
    ]


@pytest.mark.parametrize("door", DOORS)
def test_lexicon_by_curl(server: Served, lexicon_chat: Any, tmp_path: Path, door: str) -> None:
    said = run(example("lexicon-bash"), tmp_path, lexicon_replacements(server, lexicon_chat["id"], door))
    got = json.loads(said.out)
    printed = seeds.printed_object("lexicon")
    assert list(got) == list(printed)
    assert got["updated_at"] >= lexicon_chat["last_message_at"]
    assert got == {**lexicon_chat, "updated_at": got["updated_at"]}
    for name in ("user_id", "title", "config", "message_count", "status"):
        assert got[name] == printed[name]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["lexicon-javascript", "lexicon-python"])
def test_lexicon_by_program(server: Served, lexicon_chat: Any, tmp_path: Path, name: str, door: str) -> None:
    said = run(example(name), tmp_path, lexicon_replacements(server, lexicon_chat["id"], door))
    assert said.out.splitlines() == lexicon_lines(lexicon_chat)
    assert said.err == ""


def test_lexicon_programs_say_what_went_wrong(server: Served, lexicon_chat: Any, tmp_path: Path) -> None:
    nowhere = lexicon_replacements(server, SESSION, "root")
    nobody = lexicon_replacements(server, lexicon_chat["id"], "root", key=server.key[:-1] + "!")
    python, javascript = example("lexicon-python"), example("lexicon-javascript")
    assert run(python, tmp_path, nowhere).out == "Chat not found\n"
    assert run(python, tmp_path, nobody).out == "Error: 401\n"
    assert "HTTP error! status: 404" in run(javascript, tmp_path, nowhere).err


# --- Synthflow ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def synthflow_chat(server: Served) -> Any:
    """A session under the page's own id, with one turn; its answer as the answers that made it add up."""
    agent = server.ask("GET", "/v2/assistants/")["response"]["assistants"][0]
    opened = server.ask("POST", f"/v2/chat/{SESSION}", model_id=agent["model_id"])["response"]
    answer = server.ask("POST", f"/v2/chat/{SESSION}/messages", message="Where is my order?")["response"]
    greeting = opened["initial_message"]
    turns = [(agent["model_id"], greeting), (agent["model_id"], answer)]
    spoken = [{"agent_id": who, **each, "message": each["agent_message"]} for who, each in turns]
    question = {
        "agent_id": "user",
        "current_state": greeting["current_state"],
        "message": "Where is my order?",
        "turn_number": 2,
    }
    lines = [
        f"Agent: {greeting['agent_message']}",
        "User: Where is my order?",
        f"Agent: {answer['agent_message']}",
    ]
    assert agent["agent"]["greeting_message"] == greeting["agent_message"]
    return {
        **opened,
        "conversation_history": [
            without(spoken[0], "agent_message"),
            question,
            without(spoken[1], "agent_message"),
        ],
        "transcript": "\n".join(lines),
    }


def without(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {each: value[each] for each in value if each != name}


def synthflow_replacements(server: Served, door: str) -> Replacements:
    # The id stays: with Synthflow it is the client who makes it.
    return [("https://api.synthflow.ai", base_url(server, "synthflow", door)), ("<token>", server.key)]


def check_session(got: Any, expected: Any) -> None:
    response = got["response"]
    question = response["conversation_history"][1]
    times = [each["timestamp"] for each in response["conversation_history"]]
    assert sorted(times) == times  # only the question's own time is in no answer before
    question.pop("timestamp")
    assert got == {"status": "ok", "response": expected}


@pytest.mark.parametrize("door", DOORS)
def test_synthflow_by_python(server: Served, synthflow_chat: Any, tmp_path: Path, door: str) -> None:
    said = run(example("synthflow-python"), tmp_path, synthflow_replacements(server, door))
    check_session(ast.literal_eval(said.out), synthflow_chat)


@pytest.mark.parametrize("door", DOORS)
def test_synthflow_by_ruby(server: Served, synthflow_chat: Any, tmp_path: Path, door: str) -> None:
    replacements = [*synthflow_replacements(server, door), ("http.use_ssl = true", "http.use_ssl = false")]
    check_session(json.loads(run(example("synthflow-ruby"), tmp_path, replacements).out), synthflow_chat)


@pytest.mark.parametrize("door", DOORS)
def test_synthflow_by_go(server: Served, synthflow_chat: Any, tmp_path: Path, door: str) -> None:
    said = run(example("synthflow-go"), tmp_path, synthflow_replacements(server, door))
    response, body = said.out.splitlines()
    assert response.startswith("&{200 OK 200 HTTP/1.1")
    check_session(json.loads(body), synthflow_chat)


# --- Cuadra, whose page prints no request ---------------------------------------------------------------

CURL = (
    'curl -g "https://api.cuadra.ai/v1/chats/chat_abc123?expand[]=model" -H "Authorization: Bearer TOKEN"\n'
)
REQUESTS = """\
import requests

grant = {"client_id": "CLIENT", "client_secret": "SECRET", "grant_type": "client_credentials"}
token = requests.post("https://api.cuadra.ai/v1/oauth2/token", json=grant).json()
headers = {"Authorization": f"{token['token_type']} {token['access_token']}"}
chat = requests.get("https://api.cuadra.ai/v1/chats/chat_abc123", headers=headers, params={"expand[]": "model"})
print(chat.text)
"""


@pytest.fixture(scope="module")
def cuadra_client(server: Served) -> dict[str, str]:
    """Client id and secret of a service, made on the command line beside the running server."""
    done = invoke("keys", "create", "--client", "--service", "cuadra", "--data", str(server.data))
    assert done.code == 0, done.err
    return dict(line.split("=", 1) for line in done.out.splitlines())


@pytest.fixture(scope="module")
def cuadra_chat(server: Served, cuadra_client: dict[str, str]) -> Any:
    """A chat made with a token of that client, as the answers that made it add up; with the token."""
    grant = {**cuadra_client, "grant_type": "client_credentials"}
    token = server.ask_as({}, "POST", "/v1/oauth2/token", **grant)["access_token"]
    model = server.native("GET", "/models")["items"][0]
    question = {"role": "user", "content": "What is the capital of France?"}
    body = {"messages": [question], "modelId": model["id"], "systemPrompt": "Be brief."}
    made = server.ask_as({"Authorization": f"Bearer {token}"}, "POST", "/v1/chats", **body)
    return {"id": made["id"], "answer": made["message"], "question": question, "model": model, "token": token}


def check_cuadra(got: Any, server: Served, chat: Any) -> None:
    me = server.native("GET", "/me")
    expected = {
        "organizationId": me["organisation_id"],
        "id": chat["id"],
        "modelId": chat["model"]["id"],
        "title": "What is the capital of France?",
        "systemPrompt": "Be brief.",
        "documentsCount": 0,
        "visibility": "private",
        "source": "m2m",
        "ephemeral": False,
    }
    nothing = ("metadata", "status", "lastError", "lastErrorAt", "sharedWith", "deletedAt", "deletedBy")
    expected |= dict.fromkeys((*nothing, "sourceDetail", "ephemeralExpiresAt"))
    looked_at = ("createdAt", "updatedAt", "createdBy", "messages", "model")
    assert got == {**expected, **{name: got[name] for name in looked_at}}
    assert got["createdBy"] not in ("", me["id"])
    question, answer = got["messages"]
    assert got["createdAt"] <= question["createdAt"] <= answer["createdAt"] <= got["updatedAt"]
    assert {name: question[name] for name in ("role", "content")} == chat["question"]
    assert answer == chat["answer"]
    assert (got["model"]["id"], got["model"]["displayName"]) == (
        chat["model"]["id"],
        chat["model"]["display_name"],
    )


@pytest.mark.parametrize("door", DOORS)
def test_cuadra_by_curl(server: Served, cuadra_chat: Any, tmp_path: Path, door: str) -> None:
    replacements = [
        ("https://api.cuadra.ai", base_url(server, "cuadra", door)),
        ("chat_abc123", cuadra_chat["id"]),
        ("TOKEN", cuadra_chat["token"]),
    ]
    said = run(seeds.Example("cuadra", "bash", "bash", CURL), tmp_path, replacements)
    check_cuadra(json.loads(said.out), server, cuadra_chat)


@pytest.mark.parametrize("door", DOORS)
def test_cuadra_by_python(
    server: Served, cuadra_client: dict[str, str], cuadra_chat: Any, tmp_path: Path, door: str
) -> None:
    replacements = [
        ("https://api.cuadra.ai", base_url(server, "cuadra", door)),
        ("chat_abc123", cuadra_chat["id"]),
        ("CLIENT", cuadra_client["client_id"]),
        ("SECRET", cuadra_client["client_secret"]),
    ]
    said = run(seeds.Example("cuadra", "python", "python", REQUESTS), tmp_path, replacements)
    check_cuadra(json.loads(said.out), server, cuadra_chat)
