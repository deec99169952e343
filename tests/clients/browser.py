"""A real browser without a window, driven by its DevTools protocol over a WebSocket."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 60.0
LOOK_S = 0.05
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--remote-debugging-port=0",
    ),
)


class Page:
    """One open page. What it says on its console is in `said`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._session = ""
        self.said: list[str] = []

    async def open(self, url: str) -> None:
        """Show a URL in a page of its own."""
        target = await self._ask("Target.createTarget", url="about:blank")
        attached = await self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        await self._ask("Runtime.enable")
        await self._ask("Page.enable")
        await self._ask("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript is on the page, awaited if it is a promise."""
        found = await self._ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, f"{expression}: {found['exceptionDetails']} {self.said}"
        return found["result"].get("value")

    async def text(self, awaited: str) -> str:
        """What a reader sees, once these words are there."""
        until_s = monotonic() + PATIENCE_S
        while awaited not in (seen := str(await self.value("document.body ? document.body.innerText : ''"))):
            assert monotonic() < until_s, f"no {awaited!r} in {seen!r}; {self.said}"
            await asyncio.sleep(LOOK_S)
        return seen

    async def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        frame: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            frame["sessionId"] = self._session
        await self._connection.send(orjson.dumps(frame).decode())
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = orjson.loads(await self._connection.recv())
                if answer.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                    self.said.append(str(answer["params"])[:2000])
                if answer.get("id") == number:
                    assert "error" not in answer, f"{method}: {answer['error']}"
                    result: dict[str, Any] = answer["result"]
                    return result


def program() -> str | None:
    """Where a browser is, if one is installed."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    """A fresh browser with nothing in it."""
    found = program()
    assert found is not None
    process = await asyncio.create_subprocess_exec(
        found,
        *FLAGS,
        f"--user-data-dir={folder}",
        "about:blank",
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            while (at := re.search(rb"DevTools listening on (\S+)", await process.stderr.readline())) is None:
                assert not process.stderr.at_eof(), "the browser does not start"
        reading = asyncio.create_task(process.stderr.read())  # a pipe that nobody reads would stop it
        async with connect(at[1].decode(), max_size=None) as connection:
            yield Page(connection)
        reading.cancel()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def website(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    """Files on an origin of their own."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
