"""The one-way switch from serving to stopping."""

from __future__ import annotations

import asyncio
from typing import Any

from chatkeep.edge.drain import Drain


async def test_everybody_who_waits_learns_of_it() -> None:
    drain = Drain()
    waiting = [asyncio.create_task(drain.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert [drain.is_draining, *(task.done() for task in waiting)] == [False] * 4
    drain.begin()
    assert drain.is_draining
    await asyncio.wait_for(asyncio.gather(*waiting), 1)
    await asyncio.wait_for(drain.wait(), 1)


async def test_callbacks_run_once_in_order() -> None:
    drain = Drain()
    called: list[int] = []
    drain.on_begin(lambda: called.append(1))
    drain.on_begin(lambda: called.append(2))
    drain.begin()
    drain.begin()
    await asyncio.sleep(0)
    assert called == [1, 2]


async def test_callback_taken_back_is_not_run() -> None:
    drain = Drain()
    called: list[int] = []
    forget = drain.on_begin(lambda: called.append(1))
    forget()
    forget()
    drain.begin()
    await asyncio.sleep(0)
    assert called == []


async def test_callback_that_comes_late_runs_soon() -> None:
    drain = Drain()
    drain.begin()
    called: list[int] = []
    drain.on_begin(lambda: called.append(1))
    await asyncio.sleep(0)
    assert called == [1]


async def test_error_in_one_callback_does_not_keep_the_others_from_running() -> None:
    drain = Drain()
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
    called: list[int] = []

    def fail() -> None:
        raise ValueError("broken")

    drain.on_begin(fail)
    drain.on_begin(lambda: called.append(2))
    drain.begin()
    await asyncio.sleep(0)
    assert called == [2]
    assert isinstance(errors[0]["exception"], ValueError)
