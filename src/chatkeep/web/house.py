"""Everything a request can reach: put together once by the wiring, closed over by the dialects' routes."""

from __future__ import annotations

from dataclasses import dataclass

from chatkeep.runtime.runner import Runner
from chatkeep.services.context import System
from chatkeep.web.client_address import Networks
from chatkeep.web.rendered import RenderedCache


@dataclass(frozen=True, slots=True)
class House:
    """The system, the runner of answers, the cache of rendered chats, and the proxies that are believed."""

    system: System
    runner: Runner
    rendered: RenderedCache
    trusted_proxies: Networks = ()
