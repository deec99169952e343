"""The yardstick: uvicorn as chatkeep runs it, with an application that only sends bytes.

`python -m bench.bare PORT FOLDER` answers `/NAME` with the bytes of the file NAME, read at the start.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send

from chatkeep.config import environment
from chatkeep.edge.launcher import ensure_allocator


def main(port: int, folder: Path) -> None:
    """Serve until stopped."""
    ensure_allocator(environment(), sys.orig_argv)
    bodies = {f"/{file.name}": file.read_bytes() for file in folder.iterdir()}
    heads = {
        path: [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        for path, body in {"": b"", **bodies}.items()
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["path"] in bodies else ""
        await send({"type": "http.response.start", "status": 200, "headers": heads[path]})
        await send({"type": "http.response.body", "body": bodies.get(path, b"")})

    uvicorn.run(
        app, port=port, loop="uvloop", http="httptools", lifespan="off", access_log=False, log_level="warning"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
