"""Has models make titles in the background, one task a chat, after its first answer.

An answer and its end never wait for it. Whatever goes wrong leaves the title as it is, and is logged.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import structlog

from chatkeep.domain.errors import ChatkeepError
from chatkeep.domain.ids import OrganisationId
from chatkeep.domain.usage import Usage
from chatkeep.models.port import Finished, Prompt, TextDelta
from chatkeep.services import titles
from chatkeep.services.generating import StartedRun
from chatkeep.services.models import Route

log = structlog.get_logger(__name__)
WALL_S = 30.0
CHARACTERS_MAX = 2_000
"""A model that says more does not know what a title is."""


class Titles:
    """The titles that this process has asked for; `wall_s` bounds each."""

    def __init__(self, *, wall_s: float = WALL_S) -> None:
        self._wall_s = wall_s
        self._tasks: dict[asyncio.Task[None], OrganisationId] = {}
        self._is_closed = False

    def begin(self, started: StartedRun, answer: str) -> None:
        """See to the title of a chat in which this was answered."""
        if self._is_closed or started.route is None:
            return
        organisation_id = started.run.organisation_id
        under_way = sum(each == organisation_id for each in self._tasks.values())
        task = asyncio.create_task(self._work(started, started.route, answer, under_way), name="title")
        self._tasks[task] = organisation_id
        task.add_done_callback(self._tasks.pop)

    async def close(self) -> None:
        """Ask for no more, and break off what is under way."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self, started: StartedRun, route: Route, answer: str, under_way: int) -> None:
        chat_id = started.run.chat_id
        try:
            asking = await titles.wanted(started, answer, under_way=under_way)
            if asking is None:
                return
            async with asyncio.timeout(self._wall_s):
                said, usage = await _said(route, asking.prompt)
            title = await titles.give(started, asking, said, usage)
            log.info("title made" if title else "title stays", chat_id=chat_id)
        except (ChatkeepError, TimeoutError) as trouble:
            log.warning("no title was made", chat_id=chat_id, reason=str(trouble) or "it took too long")


async def _said(route: Route, prompt: Prompt) -> tuple[str, Usage | None]:
    said, usage = "", None
    async with aclosing(route.provider.stream(prompt)) as stream:  # type: ignore[type-var]  # a generator
        async for piece in stream:
            if isinstance(piece, Finished):
                usage = piece.usage
            elif isinstance(piece, TextDelta):
                said += piece.text
                if len(said) > CHARACTERS_MAX:
                    break
    return said, usage
