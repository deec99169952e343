"""Runs of an office, and what a reader of the journal sees of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId, PrincipalId
from chatkeep.domain.message import NewMessage
from chatkeep.runtime.runner import LiveRun
from chatkeep.services import journal, runs
from chatkeep.services.context import Context
from chatkeep.services.generating import StartedRun
from chatkeep.services.wishes import Wish
from tests.flows.office import Office


async def asked(office: Office, **wish: Any) -> StartedRun:
    """A committed run of a new chat."""
    chat = await office.chat()
    said = [NewMessage("user", "Question", author_id=PrincipalId(office.owner.principal_id))]
    return await runs.start(office.context(), ChatId(chat["id"]), said, Wish(**wish))


async def events_of(office: Office, live: LiveRun) -> AsyncIterator[Event]:
    """The run's events as they come, to the last."""

    async def recheck() -> Context:
        return office.context()

    async for batch in office.server.house.tail.run(office.context(), live, recheck=recheck):
        for event in batch:
            yield event


async def text_of(office: Office, live: LiveRun) -> str:
    """What a reader sees from the run's beginning to its end."""
    return "".join([event.text or "" async for event in events_of(office, live) if event.kind == "run.delta"])


async def until_said(office: Office, live: LiveRun, text: str) -> None:
    """Wait until a reader has seen just this much."""
    seen = ""
    async for event in events_of(office, live):
        seen += (event.text or "") if event.kind == "run.delta" else ""
        if seen == text:
            return
    raise AssertionError(f"the run ended with {seen!r}")


async def state(office: Office, started: StartedRun) -> tuple[Any, Any, list[tuple[str, str]]]:
    """The chat's status, its error, and what was said with its status."""
    chat = await office.read(started.run.chat_id)
    said = [(message["content"], message["status"]) for message in chat["messages"]]
    return chat["status"], chat["last_error"], said


async def journal_of(office: Office, started: StartedRun) -> list[Event]:
    """All events of the run's chat."""
    found: list[Event] = []
    while page := await journal.after(office.context(), started.run.chat_id, len(found)):
        assert isinstance(page, list)
        found += page
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    return found
