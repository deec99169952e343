"""The application behind the connections that the tests misuse."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from tests.unit.edge.serving import answer

LARGE = 600_000  # more than the kernel takes for a client with a small window


async def read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


class App:
    """What the tests look at: requests begun, disconnects seen."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.disconnects = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await self.websocket(scope, receive, send)
        elif scope["path"] == "/read":
            await answer(send, b"read %d" % len(await read_body(receive)))
        elif scope["path"] == "/large":
            await answer(send, b"x" * LARGE)
        elif scope["path"] == "/larger":
            await answer(send, b"x" * LARGE * 2)
        elif scope["path"] == "/last":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
            await send({"type": "http.response.body", "body": b"x" * LARGE})
        elif scope["path"] == "/stream":
            await self.stream(receive, send)
        else:
            await answer(send, b"hello")

    async def stream(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        self.disconnects += 1

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/quiet":
            await receive()
            return
        try:
            while True:
                await send({"type": "websocket.send", "bytes": b"x" * 100_000})
        except OSError:  # uvicorn's ClientDisconnected
            self.disconnects += 1
