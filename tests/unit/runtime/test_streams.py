"""Open streams: not too many at once, and none that is counted for ever."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from chatkeep.domain.errors import RateLimited
from chatkeep.runtime.streams import Streams
from chatkeep.services.context import System
from chatkeep.services.nodes import STREAMS_RETRY_S
from tests.flows.office import Office

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATIENCE_S = 10.0


def limited(system: System, **limits: Any) -> System:
    return replace(system, limits=replace(system.limits, **limits))


def streams_of(office: Office, **limits: Any) -> Streams:
    return Streams(limited(office.system, **limits))


@pytest.mark.parametrize(
    "limit", ["streams_max", "streams_per_organisation_max", "streams_per_principal_max"]
)
async def test_one_stream_too_many_is_refused_and_counts_come_back_to_nothing(
    office: Office, limit: str
) -> None:
    streams = streams_of(office, **{limit: 2})
    friend = office.context(await office.person())
    stranger = office.context(await office.organisation())
    is_refused = {
        "streams_max": (True, True),
        "streams_per_organisation_max": (True, False),
        "streams_per_principal_max": (False, False),
    }
    async with streams.admitted(office.context()), streams.admitted(office.context()):
        assert streams.count == 2
        with pytest.raises(RateLimited) as refused:
            async with streams.admitted(office.context()):
                raise AssertionError("let in")
        assert refused.value.retry_after_s == STREAMS_RETRY_S
        for other, must_wait in zip((friend, stranger), is_refused[limit], strict=True):
            try:
                async with streams.admitted(other):
                    assert not must_wait
            except RateLimited:
                assert must_wait
        assert streams.count == 2
    with pytest.raises(ZeroDivisionError):
        async with streams.admitted(office.context()):
            raise ZeroDivisionError
    assert streams.count == 0
    assert not streams._by_holder.count
    async with streams.admitted(office.context()), streams.admitted(office.context()):
        pass


async def test_over_http_one_too_many_is_429_with_a_time_and_the_others_go_on(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = office.server.house.streams
    monkeypatch.setattr(streams, "_system", limited(streams._system, streams_per_principal_max=2))
    chat = await office.chat("Hi")
    path = f"/chats/{chat['id']}/events?after=2&wait_s=20"
    polls = [asyncio.create_task(office.ask("GET", path)) for _ in range(2)]
    async with asyncio.timeout(PATIENCE_S):
        while streams.count < 2:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.005)
    for refused in (path, f"/chats/{chat['id']}/events"):
        answer = await office.ask("GET", refused)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, str(STREAMS_RETRY_S))
    await office.native("PATCH", f"/chats/{chat['id']}", title="New")
    for poll in polls:
        assert [each["seq"] for each in (await poll).json()["items"]] == [3]
    assert streams.count == 0
    assert (await office.ask("GET", path.replace("after=2", "after=1"))).status_code == 200
