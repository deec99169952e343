"""The HTTP/1.1 connection: uvicorn's httptools protocol with deadlines and limits added.

ASGI code cannot see a half-sent header, a silent connection or a client that stopped reading, so these are
bounded here (docs/adr/0003-uvicorn-protocol-subclass.md). One `Sweeper` looks at all connections about once a second
instead of a timer a request. uvicorn's version is pinned: this class overrides methods that are not a public
interface. Framing attacks (Content-Length with Transfer-Encoding, two Content-Lengths) are refused by the parser
itself; tests hold it to that. Used by `edge.server` alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Hashable
from functools import partial
from math import inf
from time import monotonic, perf_counter
from typing import Any, Protocol

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from chatkeep.domain.limits import Limits
from chatkeep.edge.ready import Asked, KeepsReady, asked_of
from chatkeep.web.sse import WRITE_NOW

LINGER_S = 1.0
"""After a refusal, the edge's or the application's, what still arrives is read and dropped for this long: closing at
once would make TCP reset the connection, and the client would not see why it was refused."""

PIPELINED_REQUESTS_MAX = 16
"""Requests that may wait behind a running one on a connection; each costs memory before it is looked at."""

HEADER_SLICE_BYTES = 4 * 1024
BODY_SLICE_BYTES = 32 * 1024
SWEEP_INTERVAL_MAX_S = 1.0


class Swept(Protocol):
    """A connection with deadlines."""

    def sweep(self, now_s: float) -> None:
        """Close or abort the connection when a deadline (by `time.monotonic`) has passed."""


class Sweeper:
    """Looks at every connection at a fixed interval, an eighth of the shortest deadline and at most 1 s."""

    def __init__(self, connections: Collection[Swept], limits: Limits) -> None:
        shortest_s = min(limits.header_deadline_s, limits.keep_alive_idle_s, limits.write_stall_s)
        self._interval_s = min(shortest_s / 8, SWEEP_INTERVAL_MAX_S)
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._tick)

    def stop(self) -> None:
        """End; connections still open keep no deadline."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self.start()  # first, so that an error in one connection does not end the sweeping of all
        now_s = monotonic()
        for connection in tuple(self._connections):
            connection.sweep(now_s)


class WriteStall:
    """Tells when a client has taken nothing for too long. Bytes leaving our buffer are the proof that it reads."""

    __slots__ = ("_deadline_s", "_left", "_limit_s")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self.reset()

    def reset(self) -> None:
        """The buffer was emptied: the next wait counts from anew."""
        self._left: int | None = None
        self._deadline_s = inf

    def is_over(self, now_s: float, left: int) -> bool:
        """With `left` bytes still waiting: has the number not fallen for `limit_s`?"""
        if self._left is None or left < self._left:
            self._deadline_s = now_s + self._limit_s
        self._left = left  # growth (a ping, say) moves the mark, but proves nothing
        return now_s >= self._deadline_s


class GuardedHttpProtocol(HttpToolsProtocol):
    """One connection of a client, with the deadlines and limits of `Limits`:

    - headers complete within `header_deadline_s` of the connection, or of their first byte on a kept-alive one:
      else 408 and close; a connection that sent nothing is closed without a word;
    - headers of at most `header_bytes_max` (with the request line) and `header_count_max`: else 431 and close.
      A header that begins behind another request in one read may be 4 KiB longer before it is noticed;
    - idle for at most `keep_alive_idle_s` after an answer, and for a second where its body has not ended;
    - a client that takes nothing for `write_stall_s` while an answer waits for it is cut off.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
        ready: KeepsReady | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._ready = ready
        self._held: Asked | None = None  # waits to be told whether its answer is ready
        self._header_bytes_max = limits.header_bytes_max
        self._slice_bytes = min(HEADER_SLICE_BYTES, limits.header_bytes_max)
        self._deadline_s = inf  # by time.monotonic; inf while the application has its turn
        self._stall = WriteStall(limits.write_stall_s)
        self._answered = False
        self._in_header = False
        self._overhead_bytes = 0  # fed since the parser last gave something: headers, trailers, chunk marks
        self._finished = False  # refused, or handed to a WebSocket: what arrives is not for the parser
        self._refusal: tuple[int, str] | None = None
        self._running: RequestResponseCycle | None = None

    # --- the transport's calls ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it: asyncio's type is wider
        super().connection_made(transport)
        self._deadline_s = monotonic() + self._limits.header_deadline_s

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn tells the newest request only; with a pipelined one behind it, the running one would never know.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        self.pipeline.clear()
        self._held = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if len(data) <= self._slice_bytes:
            self._feed(data)
            return
        # In slices, so that a limit is noticed soon after it was passed; long ones where a body is expected.
        start = 0
        while start < len(data):
            is_body = getattr(self.cycle, "more_body", False)  # before the first request there is no cycle
            end = start + (BODY_SLICE_BYTES if is_body else self._slice_bytes)
            self._feed(data[start:end])
            start = end

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stall.reset()

    # --- the parser's calls ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._begin_held()  # one is held at most, and the parser's state is still this one's
        super().on_message_begin()
        self._in_header = True
        if self._answered and self._deadline_s != inf:  # a kept-alive connection ends its idle time
            self._deadline_s = monotonic() + self._limits.header_deadline_s

    def on_headers_complete(self) -> None:
        if self._overhead_bytes > self._header_bytes_max and self._header_bytes() > self._header_bytes_max:
            self._refuse_in_parser(431, "The request's headers are too large.")
        if len(self.headers) > self._limits.header_count_max:
            self._refuse_in_parser(431, "The request has too many headers.")
        if len(self.pipeline) >= PIPELINED_REQUESTS_MAX:
            self._refuse_in_parser(400, "Too many requests are waiting on this connection.")
        # The parser reports trailers the way it reports headers, later and into the same list: keep them out.
        self.scope["headers"] = self.headers.copy()
        self._in_header = False
        self._overhead_bytes = 0
        self._deadline_s = inf
        if not self._hold():
            self._begin()

    def on_message_complete(self) -> None:
        if self.cycle is not None:  # the connection's first request may have been answered without one
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        self._overhead_bytes = 0
        super().on_body(body)

    # --- uvicorn's own steps -----------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """Called for every parser error, those raised by the callbacks above included."""
        self._refuse(*(self._refusal or (400, msg)))

    def handle_websocket_upgrade(self) -> None:
        self._finished = True
        super().handle_websocket_upgrade()

    def shutdown(self) -> None:
        self._begin_held()  # else the connection would pass for idle
        super().shutdown()

    def on_response_complete(self) -> None:
        # Not super(): it arms a timer for each answer, where here a deadline for the sweeper is enough.
        self.server_state.total_requests += 1
        self._answered = True
        if self._finished or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._running, application = self.pipeline.pop()
            self._start_asgi_task(self._running, application)
        elif self._in_header:
            self._deadline_s = monotonic() + self._limits.header_deadline_s
        else:
            idle_s = self._limits.keep_alive_idle_s
            # Of a body that nobody wanted to the end, little more is waited for.
            self._deadline_s = monotonic() + (min(idle_s, LINGER_S) if self.cycle.more_body else idle_s)

    # --- ours --------------------------------------------------------------------------------------

    def write_now(self, piece: bytes) -> bool:
        """Send a piece of the body under way without waiting. False, and nothing sent, where that is not possible."""
        running = self._running
        if (
            running is None
            or not running.chunked_encoding
            or running.response_complete
            or running.disconnected
            or self.flow.write_paused
        ):
            return False
        self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        return True

    def sweep(self, now_s: float) -> None:
        """Close or abort the connection when a deadline has passed."""
        transport = self.transport
        # Closing, too, waits until the client has taken what is left, and some never do.
        waiting = self.flow.write_paused or transport.is_closing()
        if waiting and self._stall.is_over(now_s, transport.get_write_buffer_size()):
            transport.abort()
        if now_s >= self._deadline_s and not transport.is_closing():
            self._expire()

    def _expire(self) -> None:
        if self._finished:
            self.transport.abort()
        elif self._in_header:
            self._refuse(408, "The request's headers did not arrive in time.")
        else:
            self.transport.close()

    def _begin(self) -> None:
        """Have the application answer the request whose header is complete."""
        self.scope["extensions"] = {WRITE_NOW: self.write_now}  # type: ignore[dict-item]  # ours is a function
        super().on_headers_complete()
        if not self.pipeline:
            self._running = self.cycle

    def _hold(self) -> bool:
        """Ask the store's moment for a GET whose answer may be ready, unless another one is under way or waits for its
        client. Until it is told, which may be at once, only this connection knows of the request.
        """
        if self._ready is None or self.parser.get_method() != b"GET":
            return False
        if not getattr(self.cycle, "response_complete", True) or self.flow.write_paused:
            return False
        asked = asked_of(self.parser.get_http_version(), self.url, self.headers)
        if asked is None:
            return False
        self._held = asked
        self._ready.tell_moment(partial(self._on_moment, self._ready, asked, perf_counter()))
        return True

    def _on_moment(self, ready: KeepsReady, asked: Asked, started_s: float, moment: Hashable | None) -> None:
        if self._held is not asked:
            return  # it could not wait
        found = None
        if not self.flow.write_paused:
            found = ready.answer_at_once(asked, self.headers, moment, started_s)
        if found is None:
            self.scope["state"].update(asked=asked, moment=moment)
            self._begin_held()
            return
        self._held = None
        status, lines, body = found
        default = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        self.transport.write(b"".join((STATUS_LINE[status], default, lines, body)))
        self.server_state.total_requests += 1
        self._answered = True
        self._deadline_s = monotonic() + self._limits.keep_alive_idle_s

    def _begin_held(self) -> None:
        if self._held is not None:
            self._held = None
            self._begin()
            super().on_message_complete()

    def _feed(self, data: bytes) -> None:
        if self._finished or self.transport.is_closing():
            return
        self._overhead_bytes += len(data)
        super().data_received(data)
        if self._in_header or self._overhead_bytes > self._header_bytes_max:
            self._check_unfinished()

    def _check_unfinished(self) -> None:
        """What has arrived of a header, or between the parts of a body, must not wait in memory for the rest."""
        if self._finished:
            return
        if self._overhead_bytes > self._header_bytes_max:
            self._refuse(431, "The request's headers are too large.")
        elif self._in_header and len(self.headers) > self._limits.header_count_max:
            self._refuse(431, "The request has too many headers.")

    def _header_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse_in_parser(self, status: int, sentence: str) -> None:
        self._refusal = (status, sentence)
        raise httptools.HttpParserError(sentence)

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer the broken request if no other answer is under way, and close without losing that answer."""
        self._begin_held()
        self._finished = True
        self._deadline_s = monotonic() + LINGER_S
        if self.headers:
            self.headers.clear()
        running = self._running
        if running is not None and not running.response_complete:
            if running.response_started or running is not self.cycle:
                self.transport.close()
                return
            # Its framing turned out broken after it had begun: it is told so, and what it sends is dropped.
            running.disconnected = True
            running.message_event.set()
        self.transport.write(self._refusal_bytes(status, sentence))
        self.transport.write_eof()
        self.flow.resume_reading()

    def _refusal_bytes(self, status: int, sentence: str) -> bytes:
        body = sentence.encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return b"%b%b\r\n%b" % (STATUS_LINE[status], lines, body)
