"""The WebSocket connection: uvicorn's protocol with the write-stall deadline added.

uvicorn notices a client that stopped answering pings, but then only asks the transport to close, which waits for
the same client to take what is buffered. The sweeper of `edge.protocol` cuts such a connection off.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from chatkeep.domain.limits import Limits
from chatkeep.edge.protocol import WriteStall


class GuardedWebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket; a client that takes nothing for `Limits.write_stall_s` while frames wait for it is cut off."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._stall = WriteStall(limits.write_stall_s)

    def data_received(self, data: bytes) -> None:
        """Each ping is answered with a pong: no reading on while the answers are not taken."""
        super().data_received(data)
        if not self.writable.is_set() and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stall.reset()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def sweep(self, now_s: float) -> None:
        """Abort the connection when its client has taken nothing for too long."""
        waiting = self.transport.is_closing() or not self.writable.is_set()
        if waiting and self._stall.is_over(now_s, self.transport.get_write_buffer_size()):
            self.transport.abort()
