"""Lexicon's API in a real browser, from a page of another origin: the vendor's React hook as it is printed, and a
WebSocket as its page shows it.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.clients import seeds
from tests.clients.browser import Page, browser, program, website
from tests.clients.serving import Served, environment, serving, upstream

REACT = "/usr/share/nodejs"
NEEDED = {
    "chromium": program(),
    "esbuild": shutil.which("esbuild"),
    "node-react-dom": Path(REACT, "react-dom").exists(),
}
PATIENCE_S = 60
pytestmark = pytest.mark.skipif(
    not all(NEEDED.values()), reason=f"not installed: {[name for name, found in NEEDED.items() if not found]}"
)
SHELL = '<!doctype html><meta charset="utf-8"><title>page</title><div id="root"></div><script src="page.js"></script>'
SOCKET = """
window.frames_ = [];
const socket = new WebSocket(`ws://HOST/ws/chat?api_key=KEY&user_id=user123&chat_id=CHAT`);
socket.onmessage = (event) => {
  const data = JSON.parse(event.data);
  window.frames_.push(data);
  if (data.event_type === 'connection_established') socket.send(JSON.stringify({content: 'Hello from a page'}));
  if (data.event_type === 'message_stream_ended') document.body.append('ended: ' + data.content);
};
socket.onclose = (event) => document.body.append('closed: ' + event.code);
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("site") / "files"
    with website(folder, {"page.html": SHELL}) as origin:
        yield folder, origin


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, site: tuple[Path, str]) -> Iterator[Served]:
    """A server that pages of the site may call."""
    with ExitStack() as stack:
        settings = {
            "local_model": "false",
            "providers__scripted__base_url": stack.enter_context(upstream()),
            "allowed_origins": site[1],
        }
        yield stack.enter_context(serving(tmp_path_factory.mktemp("browsed"), **settings))


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with browser(tmp_path / "profile") as opened:
        yield opened


def a_chat(server: Served) -> Any:
    key = {"X-API-Key": server.key}
    return server.ask_as(key, "POST", "/api/v1/chats/", user_id="user123", title="Support Session")


def talking_in(server: Served, chat_id: str) -> str:
    """The script of a page that says something in a chat."""
    script = SOCKET.replace("HOST", server.url.removeprefix("http://"))
    return script.replace("KEY", server.key).replace("CHAT", chat_id)


async def test_the_react_hook_shows_a_chat(
    server: Served, site: tuple[Path, str], page: Page, tmp_path: Path
) -> None:
    chat = a_chat(server)
    server.native("POST", f"/chats/{chat['id']}/messages", messages=[{"role": "user", "content": "Hi"}])
    code = seeds.example("lexicon-react").code
    for printed, ours in (("http://localhost:8000", server.url), ("your-tenant-api-key", server.key)):
        assert printed in code
        code = code.replace(printed, ours)
    shown = (
        "import { createElement } from 'react';\nimport { createRoot } from 'react-dom/client';\n"
        "createRoot(document.getElementById('root')).render(createElement('div', null,\n"
        f"  createElement(ChatHeader, {{ chatId: '{chat['id']}' }}),\n"
        "  createElement(ChatHeader, { chatId: 'nowhere' })));\n"
    )
    source = tmp_path / "page.jsx"
    source.write_text(f"import React from 'react';\n{code}\n{shown}")
    await asyncio.to_thread(
        subprocess.run,
        ["esbuild", str(source), "--bundle", f"--outfile={site[0] / 'page.js'}", "--log-level=error"],
        env={**environment(), "NODE_PATH": REACT},
        check=True,
        timeout=PATIENCE_S,
    )
    await page.open(f"{site[1]}/page.html")
    await page.text("Error:")
    seen = await page.text("Status:")
    assert "Support Session\n" in seen
    assert "1 messages" in seen
    assert "Status: active" in seen
    assert "Error: Chat not found" in seen


async def test_a_page_talks_over_a_websocket(server: Served, site: tuple[Path, str], page: Page) -> None:
    chat = a_chat(server)
    (site[0] / "page.js").write_text(talking_in(server, chat["id"]))
    await page.open(f"{site[1]}/page.html")
    assert "ended: You said: Hello from a page" in await page.text("ended:")
    frames = await page.value("window.frames_")
    tokens = [each["token"] for each in frames if each["event_type"] == "message_stream_token"]
    assert "".join(tokens) == frames[-1]["content"]


async def test_a_page_of_another_origin_gets_nothing(
    server: Served, site: tuple[Path, str], page: Page
) -> None:
    chat = a_chat(server)
    (site[0] / "page.js").write_text(talking_in(server, chat["id"]))
    await page.open(f"{site[1].replace('127.0.0.1', 'localhost')}/page.html")
    assert "closed: 1006" in await page.text("closed:")
    asked = f"fetch('{server.url}/api/v1/chats/{chat['id']}', {{headers: {{'X-API-Key': '{server.key}'}}}})"
    assert await page.value(f"{asked}.then(() => 'read', () => 'refused')") == "refused"
