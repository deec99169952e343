"""Budgets of an organisation: tokens are set aside when an answer begins and settled when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flows.office import idle
from tests.upstream import DONE, Raw, Script, ScriptedUpstream, finish_event, text_event
from tests.world import NATIVE, FakeClock, World, open_world

WINDOW_S, TOKENS = 100, 1_500
HELD = Raw([text_event("x" * 300), None, finish_event(), DONE])


@pytest.fixture
async def budgeted(tmp_path: Path) -> AsyncIterator[World]:
    settings = {"tokens_per_organisation_max": TOKENS, "tokens_window_s": WINDOW_S}
    async with (
        ScriptedUpstream() as upstream,
        open_world(tmp_path / "data", FakeClock(), upstream, **settings) as world,
    ):
        yield world


async def ask(world: World, max_tokens: int | None = 1_000, caller: object = None) -> httpx.Response:
    """A question in a new chat."""
    who = caller or world.owner
    chat = await world.native("POST", "/chats", who, title="T")  # type: ignore[arg-type]  # a caller
    body = {"message": "Q", "max_tokens": max_tokens}
    return await world.client.post(
        f"{NATIVE}/chats/{chat['id']}/generate",
        headers=who.bearer,  # type: ignore[attr-defined]
        json=body,
    )


def refused(answer: httpx.Response) -> int:
    """For how long, in seconds."""
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited"), answer.text
    return int(answer.headers["retry-after"])


async def test_tokens_are_set_aside_while_an_answer_is_generated_and_settled_by_its_count(
    budgeted: World,
) -> None:
    budgeted.upstream.play(Raw([text_event("Wait"), None, finish_event(), DONE]))
    first = asyncio.create_task(ask(budgeted))
    await budgeted.upstream.until_requests()
    assert 0 < refused(await ask(budgeted)) <= WINDOW_S
    assert len(budgeted.upstream.requests) == 1, "nobody was asked"
    assert (await ask(budgeted, max_tokens=400)).status_code == 200, "this one has room beside it"
    budgeted.upstream.go_on()
    assert (await first).status_code == 200
    assert (await ask(budgeted)).status_code == 200


async def test_what_was_used_counts_until_the_window_is_over(budgeted: World) -> None:
    budgeted.upstream.play(Script(["much"], usage=(1_000, 480)))
    assert (await ask(budgeted)).status_code == 200
    budgeted.clock.advance(WINDOW_S - 20)
    assert 1 <= refused(await ask(budgeted)) <= 20
    assert (await ask(budgeted, max_tokens=5)).status_code == 200
    budgeted.clock.advance(21)
    assert (await ask(budgeted)).status_code == 200


async def test_an_answer_without_a_bound_has_a_thousand_set_aside(budgeted: World) -> None:
    budgeted.upstream.play(Script(["much"], usage=(300, 250)))
    assert (await ask(budgeted, max_tokens=None)).status_code == 200
    refused(await ask(budgeted, max_tokens=None))
    assert (await ask(budgeted, max_tokens=900)).status_code == 200


async def test_a_stopped_answer_counts_what_was_said(budgeted: World) -> None:
    budgeted.upstream.play(HELD)
    task = asyncio.create_task(ask(budgeted, max_tokens=TOKENS))
    await budgeted.upstream.until_requests()
    chat = (await budgeted.native("GET", "/chats"))["items"][0]
    page: Any = {"items": []}
    while not any(each["type"] == "run.delta" for each in page["items"]):
        page = await budgeted.native("GET", f"/chats/{chat['id']}/events?after=3&wait_s=5")
    await budgeted.native("POST", f"/chats/{chat['id']}/stop", run_id=None)
    assert (await task).json()["message"]["status"] == "incomplete"
    await idle(budgeted)
    refused(await ask(budgeted, max_tokens=TOKENS - 99))  # 300 bytes are about 100 tokens
    assert (await ask(budgeted, max_tokens=TOKENS - 101)).status_code == 200


async def test_one_organisations_budget_is_not_anothers(budgeted: World) -> None:
    other = await budgeted.organisation()
    budgeted.upstream.play(Script(["much"], usage=(1_000, 500)))
    assert (await ask(budgeted)).status_code == 200
    refused(await ask(budgeted))
    assert (await ask(budgeted, caller=other)).status_code == 200
