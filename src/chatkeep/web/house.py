"""Everything a request can reach: put together once by the wiring, closed over by the dialects' routes."""

from __future__ import annotations

from dataclasses import dataclass

from chatkeep.runtime.rates import Rates
from chatkeep.runtime.runner import Runner
from chatkeep.runtime.streams import Streams
from chatkeep.runtime.tail import Tail
from chatkeep.runtime.turns import Turns
from chatkeep.services.context import System
from chatkeep.web.client_address import Networks
from chatkeep.web.rendered import RenderedCache


@dataclass(frozen=True, slots=True)
class House:
    """The system, the runner of answers, whoever follows chats and how many do, how often who asks, who waits for a
    turn, the cache of rendered chats, and the proxies that are believed.
    """

    system: System
    runner: Runner
    tail: Tail
    streams: Streams
    rates: Rates
    turns: Turns
    rendered: RenderedCache
    trusted_proxies: Networks
