"""What answers cost: the provider's own word, else tokens times the model's prices, else nothing is said."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chatkeep.services import models
from tests.flows.office import Office, events
from tests.upstream import DONE, Raw, Script, ScriptedUpstream, finish_event, text_event, usage_event
from tests.world import FakeClock, open_world

pytestmark = pytest.mark.asyncio(loop_scope="session")
PRICES: dict[str, Any] = {"input_price": "0.15", "output_price": "0.60"}
COST = "0.00000405"  # of 7 and 5 tokens at these prices
USED = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12, "cost": COST}
SOURCE: dict[str, Any] = {"provider": "scripted", "model_name": "scripted"}
CARD: dict[str, Any] = {"display_name": "Ours", "context_window": 8192}


async def priced_model(office: Office, **prices: Any) -> str:
    """A model of the organisation's own at the scripted provider; its id."""
    made = await office.native("POST", "/models", **CARD, **SOURCE, **prices)
    return str(made["id"])


async def answer(office: Office, chat: Any, **body: Any) -> Any:
    return await office.native("POST", f"/chats/{chat['id']}/generate", message="Hi", **body)


async def runs(office: Office, chat: Any) -> list[Any]:
    return list((await office.native("GET", f"/chats/{chat['id']}/runs"))["items"])


@pytest.mark.parametrize(
    ("prices", "told", "cost"),
    [
        (PRICES, None, COST),
        (PRICES, 0.00031, "0.00031"),
        (PRICES, 0, "0"),
        ({}, 0.00031, "0.00031"),
        ({}, None, None),
        ({"input_price": "0.15"}, None, None),
        ({"output_price": "0.15"}, None, None),
        ({"input_price": "0", "output_price": "0"}, None, "0"),
    ],
)
async def test_the_cost_stands_wherever_the_tokens_do(
    office: Office, prices: dict[str, Any], told: float | None, cost: str | None
) -> None:
    chat = await office.chat(model_id=await priced_model(office, **prices))
    office.upstream.play(Script(["Hello"], usage=(7, 5), cost=told))
    answered = await answer(office, chat)
    usage = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12, "cost": cost}
    assert (answered["usage"], answered["message"]["cost"]) == (usage, cost)
    question, said = (await office.read(chat["id"]))["messages"]
    assert (question["cost"], said["cost"]) == (None, cost)
    (run,) = await runs(office, chat)
    assert run["usage"] == usage
    assert await office.native("GET", f"/chats/{chat['id']}/runs/{run['id']}") == run
    journal = (await office.native("GET", f"/chats/{chat['id']}/events?after=0&wait_s=0"))["items"]
    completed = journal[-1]
    assert (completed["type"], completed["usage"], completed["message"]["cost"]) == (
        "run.completed",
        usage,
        cost,
    )


async def test_a_stream_ends_with_the_cost(office: Office) -> None:
    chat = await office.chat(model_id=await priced_model(office, **PRICES))
    office.upstream.play(Script(["Hel", "lo"], usage=(7, 5)))
    body = {"message": "Hi", "stream": True}
    name, done = events((await office.ask("POST", f"/chats/{chat['id']}/generate", body=body)).text)[-1]
    assert (name, done["usage"]["cost"], done["message"]["cost"]) == ("done", COST, COST)


async def test_another_answer_has_its_own_cost_and_the_first_keeps_its(office: Office) -> None:
    chat = await office.chat(model_id=await priced_model(office, **PRICES))
    office.upstream.play(Script(["One"], usage=(7, 5)), Script(["Two"], usage=(7, 500)))
    first = await answer(office, chat)
    again = await office.native("POST", f"/chats/{chat['id']}/regenerate", message_id=None)
    assert (first["message"]["cost"], again["message"]["cost"]) == (COST, "0.00030105")
    page = await office.native("GET", f"/chats/{chat['id']}/messages?branch=all")
    assert [each["cost"] for each in page["items"]] == [None, COST, "0.00030105"]
    assert [run["usage"]["cost"] for run in await runs(office, chat)] == ["0.00030105", COST]


async def test_an_answer_that_is_continued_has_its_last_calls_cost_and_each_run_its_own(
    office: Office,
) -> None:
    chat = await office.chat(model_id=await priced_model(office, **PRICES))
    office.upstream.play(Script(["One"], usage=(7, 5)), Script([" more"], usage=(7, 500)))
    await answer(office, chat)
    longer = await office.native("POST", f"/chats/{chat['id']}/continue", message_id=None)
    assert (longer["message"]["content"], longer["message"]["cost"]) == ("One more", "0.00030105")
    journal = (await office.native("GET", f"/chats/{chat['id']}/events?after=0&wait_s=0"))["items"]
    told = [(each["type"], each["message"]["cost"]) for each in journal if "message" in each]
    assert told == [
        ("message.created", None),
        ("message.created", None),
        ("run.completed", COST),
        ("message.updated", COST),
        ("run.completed", "0.00030105"),
    ]
    assert [run["usage"]["cost"] for run in await runs(office, chat)] == ["0.00030105", COST]


async def test_what_a_stopped_answer_cost_is_not_known(office: Office) -> None:
    chat = await office.chat(model_id=await priced_model(office, **PRICES))
    office.upstream.play(Raw([text_event("Wait"), None]))
    asking = asyncio.create_task(answer(office, chat))
    await office.until_said(chat["id"], "Wait")
    await office.native("POST", f"/chats/{chat['id']}/stop", run_id=None)
    stopped = await asking
    assert (stopped["message"]["content"], stopped["message"]["status"]) == ("Wait", "incomplete")
    assert (stopped["message"]["cost"], stopped["usage"]) == (None, None)
    (run,) = await runs(office, chat)
    assert (run["state"], run["usage"]) == ("stopped", None)


async def test_of_a_stopped_answer_counts_what_the_provider_counted_by_then(office: Office) -> None:
    chat = await office.chat(model_id=await priced_model(office, **PRICES))
    office.upstream.play(
        Raw([usage_event(7, 1), text_event("Wait"), usage_event(7, 5), text_event("ing"), None])
    )
    asking = asyncio.create_task(answer(office, chat))
    await office.until_said(chat["id"], "Waiting")
    await office.native("POST", f"/chats/{chat['id']}/stop", run_id=None)
    stopped = await asking
    assert (stopped["message"]["content"], stopped["message"]["cost"]) == ("Waiting", COST)
    (run,) = await runs(office, chat)
    assert (run["state"], run["usage"]) == ("stopped", USED)


async def test_of_an_answer_that_broke_off_too(office: Office) -> None:
    chat = await office.chat(model_id=await priced_model(office, **PRICES))
    office.upstream.play(Raw([usage_event(7, 5), text_event("Wait"), b"data: no JSON\n\n"]))
    failed = await office.ask("POST", f"/chats/{chat['id']}/generate", body={"message": "Hi"})
    assert failed.json()["code"] == "provider_failed"
    (run,) = await runs(office, chat)
    assert (run["state"], run["usage"]) == ("failed", USED)


async def test_another_price_counts_for_later_answers_only(office: Office) -> None:
    model_id = await priced_model(office, **PRICES)
    chat = await office.chat(model_id=model_id)
    office.upstream.play(*[Script(["Hello"], usage=(7, 5))] * 2)
    await answer(office, chat)
    await office.native("PUT", f"/models/{model_id}", **CARD, **SOURCE, input_price="1", output_price="1")
    await answer(office, chat)
    read = (await office.read(chat["id"]))["messages"]
    assert [each["cost"] for each in read] == [None, COST, None, "0.000012"]
    assert [run["usage"]["cost"] for run in await runs(office, chat)] == ["0.000012", COST]


async def test_a_price_given_during_an_answer_is_too_late_for_it(office: Office) -> None:
    model_id = await priced_model(office, **PRICES)
    chat = await office.chat(model_id=model_id)
    office.upstream.play(Raw([text_event("Wait"), None, finish_event(), usage_event(7, 5), DONE]))
    asking = asyncio.create_task(answer(office, chat))
    await office.until_said(chat["id"], "Wait")
    await office.native("PUT", f"/models/{model_id}", **CARD, **SOURCE, input_price="1", output_price="1")
    office.upstream.go_on()
    assert (await asking)["usage"]["cost"] == COST


@pytest.mark.parametrize(
    ("own", "cost"),
    [
        ({}, COST),
        ({"input_price": "1"}, "0.00001"),
        ({"output_price": "1"}, "0.00000605"),
        ({"input_price": "0", "output_price": "0"}, "0"),
    ],
)
async def test_a_user_model_has_its_parents_prices_where_it_has_none(
    office: Office, own: dict[str, Any], cost: str
) -> None:
    parent_id = await priced_model(office, **PRICES)
    child = await office.native("POST", "/models", **CARD, parent_model_id=parent_id, **own)
    assert (child["input_price"], child["output_price"]) == (own.get("input_price"), own.get("output_price"))
    chat = await office.chat(model_id=child["id"])
    office.upstream.play(Script(["Hello"], usage=(7, 5)))
    assert (await answer(office, chat))["message"]["cost"] == cost


LISTED: list[dict[str, Any]] = [
    {"id": "cheap", "pricing": {"prompt": "0.00000015", "completion": "0.0000006", "request": "0"}},
    {"id": "free", "pricing": {"prompt": "0", "completion": "0"}},
    {"id": "varies", "pricing": {"prompt": "-1", "completion": "-1"}},
    {"id": "half", "pricing": {"prompt": "0.000001"}},
    {"id": "other unit", "pricing": {"prompt": 0.2, "completion": 0.2}},
    {"id": "odd", "pricing": "cheap"},
    {"id": "silent"},
]


async def test_listed_prices_are_taken_once_and_the_operators_stay(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(models=LISTED) as upstream,
        open_world(tmp_path / "data", FakeClock(), upstream) as world,
    ):

        async def catalogue() -> dict[str, tuple[str | None, str | None]]:
            page = await world.native("GET", "/models")
            return {each["model_name"]: (each["input_price"], each["output_price"]) for each in page["items"]}

        nothing = (None, None)
        expected = {
            "cheap": ("0.15", "0.6"),
            "free": ("0", "0"),
            "varies": nothing,
            "half": ("1", None),
            "other unit": nothing,
            "odd": nothing,
            "silent": nothing,
        }
        assert await catalogue() == expected
        (cheap, free) = (await world.native("GET", "/models"))["items"][:2]
        await world.native("PUT", f"/models/{cheap['id']}", **_card(cheap, "9", "9"))
        await world.native("PUT", f"/models/{free['id']}", **_card(free, None, None))
        upstream.models.append({"id": "new", "pricing": {"prompt": "0.000002", "completion": "0.000004"}})
        assert await models.sync(world.system, world.system.providers["scripted"]) == 1
        changed = {"cheap": ("9", "9"), "free": nothing, "new": ("2", "4")}
        assert await catalogue() == {**expected, **changed}


def _card(model: Any, input_price: str | None, output_price: str | None) -> dict[str, Any]:
    kept = {name: model[name] for name in ("display_name", "context_window", "provider", "model_name")}
    return {**kept, "input_price": input_price, "output_price": output_price}
