"""The end of a group commit, on any engine: listeners hear of it first, then everybody who waited is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from chatkeep.domain.event import Event
from chatkeep.store.driver import Listener


class Settled(Protocol):
    """One body of the group: what it announced, what it returned or raised, and who waits for that."""

    future: asyncio.Future[Any]
    events: Any
    result: Any
    error: BaseException | None


def settle(jobs: Sequence[Settled], listeners: Sequence[Listener]) -> None:
    """Tell the events of those that did not fail, in their order, and answer all; on the event loop."""
    events: list[Event] = [event for job in jobs if job.error is None for event in job.events]
    if events:
        for listener in listeners:
            listener(events)
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
