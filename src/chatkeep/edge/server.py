"""Running the server: uvicorn from our own code, with our own handling of signals.

uvicorn by itself neither ends open streams on SIGTERM nor exits with 0, so it is told to stop only after `Drain` has
told everybody else. `cli` calls `serve`; tests run `EdgeServer` inside their own loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn
import uvloop
from starlette.types import ASGIApp

from chatkeep.domain.limits import Limits
from chatkeep.edge.drain import Drain
from chatkeep.edge.protocol import GuardedHttpProtocol, Sweeper
from chatkeep.edge.ready import KeepsReady
from chatkeep.edge.websocket_protocol import GuardedWebSocketProtocol

SIGNALS = (signal.SIGTERM, signal.SIGINT)
REQUESTS_SHARE = 0.8
"""Of the drain's time; the rest is for the lifespan's end: handing runs back, closing the store."""

NOTICE_S = 0.2
"""What uvicorn needs to see that it is to stop, and lets pass before it waits for requests."""

GC_THRESHOLDS = (10_000, 20, 50)
"""Little of what a server makes is circular, and a look at all that 800 streams hold takes a quarter of a second in
which none of them gets a word: so such looks are rare."""

UNSENT_BYTES_MAX = 128 * 1024
"""What the kernel may hold of an answer that the client's window has no room for. Its default is megabytes a slow
reader, and it hides for half a minute whether such a client still reads."""


class EdgeServer(uvicorn.Server):
    """uvicorn's server with the deadlines' sweeper, a drain, and no signal handlers of its own."""

    def __init__(
        self, app: ASGIApp, *, limits: Limits, drain: Drain, on_ready: Callable[[str], None]
    ) -> None:
        super().__init__(_config(app, limits, max(drain.limit_s * REQUESTS_SHARE - NOTICE_S, 0.0)))
        self.servers = []  # uvicorn sets it late, and a signal may come early
        self._drain = drain
        self._on_ready = on_ready
        self._sweeper = Sweeper(cast("Any", self.server_state.connections), limits)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Nothing: `serve` has the signals."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen, then report the address."""
        await super().startup(sockets)
        self._sweeper.start()
        gc.freeze()  # what lives by now lives for ever: the collector need not look at it again
        gc.set_threshold(*GC_THRESHOLDS)
        gc.enable()
        if sockets and not self.should_exit:
            self._on_ready(_url(sockets[0]))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for requests within the drain's time, then end the application."""
        await super().shutdown(sockets)
        self._sweeper.stop()

    def begin_drain(self) -> None:
        """Tell everybody, take no further connection, and let uvicorn stop."""
        self._drain.begin()
        for server in self.servers:
            server.close()
        self.should_exit = True


def serve(
    app: ASGIApp,
    address: tuple[str, int] | socket.socket,
    *,
    limits: Limits,
    drain: Drain,
    on_ready: Callable[[str], None],
) -> int:
    """Serve `app` until SIGTERM or SIGINT, and return the exit code for the process. Call it from the main thread.

    `address` is host and port, or a bound socket. `on_ready` gets the URL once requests are taken; with port 0 it tells
    the port the system chose. 0: stopped in order. 1: the address cannot be listened on; one sentence is on stderr.
    3: the application did not start (logged). A process that has not stopped `drain.limit_s` after the first signal
    ends with 1; a second signal ends it at once.
    """
    try:
        listener = address if isinstance(address, socket.socket) else listen(*address)
    except OSError as error:
        sys.stderr.write(f"{cannot_listen(address, error)}\n")
        return 1
    server = EdgeServer(app, limits=limits, drain=drain, on_ready=on_ready)
    try:
        with (
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
            _signals(server, runner.get_loop(), drain),
        ):
            runner.run(server.serve(sockets=[listener]))
    except SystemExit as exit_:  # uvicorn's way to say that the lifespan's start failed
        return exit_.code if isinstance(exit_.code, int) else 1
    finally:
        listener.close()
    return 0


def listen(host: str, port: int) -> socket.socket:
    """A bound socket for `EdgeServer`; IPv4 first where a name has both. Raises OSError in the system's words."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX
        )  # connections inherit it
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def cannot_listen(address: object, error: OSError) -> str:
    """The sentence for an address that `listen` refused."""
    where = ":".join(map(str, address)) if isinstance(address, tuple) else address
    return f"Cannot listen on {where}: {(error.strerror or str(error)).lower().rstrip('.')}."


def inherited(descriptor: int) -> socket.socket:
    """The bound socket that another process has handed over."""
    return socket.socket(fileno=descriptor)


def _config(app: ASGIApp, limits: Limits, requests_s: float) -> uvicorn.Config:
    edge: object = app
    ready = edge if isinstance(edge, KeepsReady) else None
    config = uvicorn.Config(
        cast("Any", app),
        interface="asgi3",
        http=cast("Any", partial(GuardedHttpProtocol, limits=limits, ready=ready)),
        ws=cast("Any", partial(GuardedWebSocketProtocol, limits=limits)),
        ws_max_size=limits.websocket_frame_bytes_max,
        ws_per_message_deflate=False,  # our frames are tokens: a window of memory a client, and nothing gained
        lifespan="on",
        log_config=None,  # logging is the cli's
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whom to believe is the edge's to decide, by its settings
        forwarded_allow_ips=[],  # else uvicorn asks the environment, as for the workers
        workers=1,
    )
    config.timeout_graceful_shutdown = cast("int", requests_s)  # annotated int, used as any number of seconds
    return config


@contextlib.contextmanager
def _signals(server: EdgeServer, loop: asyncio.AbstractEventLoop, drain: Drain) -> Iterator[None]:
    """Our handlers while the server runs. Plain `signal` handlers, as they run even while the loop is kept busy."""
    last_resort = threading.Timer(drain.limit_s, _give_up)
    last_resort.daemon = True

    def handle(number: int, _frame: FrameType | None) -> None:
        if last_resort.is_alive():
            os._exit(128 + number)  # what was acknowledged is safe: the store outlives kill -9
        last_resort.start()
        loop.call_soon_threadsafe(server.begin_drain)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        last_resort.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _give_up() -> None:
    os.write(2, b"The server did not stop within its drain time; it ends now.\n")
    os._exit(1)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"
