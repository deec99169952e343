"""The model catalogue over the native API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.flows.office import Office
from tests.upstream import ScriptedUpstream
from tests.world import NATIVE, FakeClock, open_world

pytestmark = pytest.mark.asyncio(loop_scope="session")
UNKNOWN_ID = "01900000-0000-7000-8000-000000000000"
CARD: dict[str, Any] = {
    "display_name": "Poet 🙂",
    "context_window": 8192,
    "description": "Writes verse.",
    "provider": None,
    "model_name": None,
    "max_tokens_per_request": 500,
    "supports_streaming": False,
    "supports_tools": True,
    "supports_vision": False,
    "supports_reasoning": None,
    "credit_multiplier": 1.5,
    "input_price": "0.150",
    "output_price": "0",
    "model_tier": "premium",
    "lifecycle_state": "deprecated",
    "end_of_life_at": "2030-01-01T00:00:00.000001Z",
    "deprecation_notice": "Use another.",
    "is_recommended": True,
    "enabled": True,
    "profile_id": "p",
    "metadata": {"a": [1]},
    "system_prompt_id": "sp",
    "system_prompt": "Rhyme.",
}


async def system_model(office: Office) -> Any:
    return (await office.native("GET", "/models"))["items"][0]


async def test_what_the_provider_offers_is_in_the_catalogue(office: Office) -> None:
    page = await office.native("GET", "/models")
    assert (page["has_more"], page["next_cursor"]) == (False, None)
    (model,) = page["items"]
    assert (model["provider"], model["model_name"], model["display_name"]) == (
        "scripted",
        "scripted",
        "scripted",
    )
    assert (model["is_system_model"], model["is_recommended"], model["enabled"]) == (True, True, True)
    assert model["lifecycle_state"] == "active"
    assert await office.native("GET", f"/models/{model['id']}") == model


async def test_a_card_comes_back_as_it_was_given(office: Office) -> None:
    parent = await system_model(office)
    card = {**CARD, "parent_model_id": parent["id"]}
    made = await office.native("POST", "/models", **card)
    assert {name: made[name] for name in card} == card
    assert made["is_system_model"] is False
    assert made["created_at"] == made["updated_at"]
    assert await office.native("GET", f"/models/{made['id']}") == made


async def test_put_gives_another_card(office: Office) -> None:
    parent = await system_model(office)
    made = await office.native("POST", "/models", **CARD, parent_model_id=parent["id"])
    after = await office.native("PUT", f"/models/{made['id']}", display_name="Plain", context_window=1)
    assert (after["id"], after["created_at"]) == (made["id"], made["created_at"])
    assert after["updated_at"] > made["updated_at"]
    assert (
        after["parent_model_id"]
        is after["metadata"]
        is after["system_prompt"]
        is after["end_of_life_at"]
        is None
    )
    assert (after["lifecycle_state"], after["supports_streaming"], after["is_recommended"]) == (
        "active",
        True,
        False,
    )


async def test_the_source_of_a_system_model_stays(office: Office) -> None:
    model = await system_model(office)
    path = f"/models/{model['id']}"
    for card in (
        {"display_name": "x", "context_window": 1},
        {"display_name": "x", "context_window": 1, "provider": "scripted", "model_name": "other"},
    ):
        assert (await office.refusal(403, "PUT", path, body=card))["code"] == "not_allowed"
    source: dict[str, Any] = {"provider": "scripted", "model_name": "scripted"}
    renamed = await office.native("PUT", path, display_name="Ours", context_window=4096, **source)
    assert (renamed["display_name"], renamed["is_system_model"]) == ("Ours", True)
    assert (await office.refusal(403, "DELETE", path))["code"] == "not_allowed"


async def test_a_deleted_model_is_gone_and_its_chats_stay(office: Office) -> None:
    parent = await system_model(office)
    model = await office.native(
        "POST", "/models", display_name="m", context_window=1, parent_model_id=parent["id"]
    )
    chat = await office.chat("Hi", model_id=model["id"])
    await office.native("DELETE", f"/models/{model['id']}")
    for method, body in (
        ("GET", None),
        ("PUT", {"display_name": "x", "context_window": 1}),
        ("DELETE", None),
    ):
        await office.refusal(404, method, f"/models/{model['id']}", body=body)
    assert (await office.read(chat["id"])) == chat
    assert (await office.native("GET", f"/chats/{chat['id']}?expand=model"))["model"] is None
    problem = await office.refusal(422, "POST", f"/chats/{chat['id']}/generate", body={"message": "x"})
    assert problem["field"] == "model_id"
    await office.native("PATCH", f"/chats/{chat['id']}", model_id=None)
    await office.native("POST", f"/chats/{chat['id']}/generate", message="x")


@pytest.mark.parametrize("state", ["disabled", "end_of_life"])
async def test_a_model_past_its_life_answers_nobody(office: Office, state: str) -> None:
    parent = await system_model(office)
    model = await office.native(
        "POST",
        "/models",
        display_name="m",
        context_window=1,
        parent_model_id=parent["id"],
        lifecycle_state=state,
    )
    chat = await office.chat(model_id=model["id"])
    problem = await office.refusal(422, "POST", f"/chats/{chat['id']}/generate", body={"message": "x"})
    assert problem["field"] == "model_id"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"display_name": ""}, "display_name"),
    ({"display_name": "x" * 201}, "display_name"),
    ({"context_window": 0}, "context_window"),
    ({"context_window": 2_000_001}, "context_window"),
    ({"context_window": "many"}, "context_window"),
    ({"max_tokens_per_request": 0}, "max_tokens_per_request"),
    ({"max_tokens_per_request": 200_001}, "max_tokens_per_request"),
    ({"credit_multiplier": "nan"}, "credit_multiplier"),
    ({"credit_multiplier": "inf"}, "credit_multiplier"),
    *(
        ({field: price}, field)
        for field in ("input_price", "output_price")
        for price in ("", "-1", "+1", "1e3", "nan", "inf", ".5", "5.", "1,5", "1.5\n", "٣", 0.15, "1" * 10)
    ),
    ({"input_price": "0.0000000000001"}, "input_price"),
    ({"model_tier": "gold"}, "model_tier"),
    ({"lifecycle_state": "dead"}, "lifecycle_state"),
    ({"end_of_life_at": "tomorrow"}, "end_of_life_at"),
    ({"end_of_life_at": "0001-01-01T00:00:00+14:00"}, "end_of_life_at"),
    ({"end_of_life_at": "9999-12-31T23:59:59-14:00"}, "end_of_life_at"),
    ({"end_of_life_at": "1969-12-31T23:59:59.999999Z"}, "end_of_life_at"),
    ({"end_of_life_at": 5}, "end_of_life_at"),
    ({"parent_model_id": UNKNOWN_ID}, "parent_model_id"),
    ({"parent_model_id": "no id"}, "parent_model_id"),
    ({"provider": "nobody"}, "provider"),
    ({"provider": ""}, "provider"),
    ({"nonsense": 1}, "nonsense"),
]


@pytest.mark.parametrize(("fields", "field"), REFUSED, ids=lambda value: str(value)[:40])
async def test_what_breaks_a_rule_is_refused(office: Office, fields: dict[str, Any], field: str) -> None:
    body = {"display_name": "m", "context_window": 1, **fields}
    assert (await office.refusal(422, "POST", "/models", body=body))["field"] == field
    assert len((await office.native("GET", "/models"))["items"]) == 1


async def test_a_provider_is_one_that_the_operator_configured(office: Office) -> None:
    card: dict[str, Any] = {"display_name": "m", "context_window": 1, "model_name": "m"}
    problem = await office.refusal(422, "POST", "/models", body={**card, "provider": "nobody"})
    assert problem["detail"] == "provider: no such provider here; known: scripted"
    made = await office.native("POST", "/models", **card, provider="scripted")
    path = f"/models/{made['id']}"
    problem = await office.refusal(422, "PUT", path, body={**card, "provider": "nobody"})
    assert problem["field"] == "provider"
    assert await office.native("GET", path) == made


async def test_a_model_of_a_provider_that_is_no_more_may_still_be_changed(tmp_path: Path) -> None:
    source = {"model_name": "m", "provider": "scripted"}
    card: dict[str, Any] = {"display_name": "m", "context_window": 1, **source}
    async with ScriptedUpstream() as upstream, open_world(tmp_path, FakeClock(), upstream) as world:
        made = await world.native("POST", "/models", **card)
        await world.system.providers.pop("scripted").aclose()  # type: ignore[attr-defined]
        changed = await world.native("PUT", f"/models/{made['id']}", **{**card, "enabled": False})
        assert (changed["provider"], changed["enabled"]) == ("scripted", False)
        headers = world.owner.bearer
        refused = await world.client.post(f"{NATIVE}/models", headers=headers, json=card)
        assert refused.status_code == 422
        assert refused.json()["detail"].endswith("known: none, as none is configured")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2030-06-01", "2030-06-01T00:00:00Z"),
        ("2030-06-01T12:00:00", "2030-06-01T12:00:00Z"),
        ("2030-06-01T12:00:00+02:00", "2030-06-01T10:00:00Z"),
        ("2030-06-01T12:34:56.123457Z", "2030-06-01T12:34:56.123457Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
async def test_a_time_is_kept_to_the_microsecond(office: Office, given: str, kept: str) -> None:
    made = await office.native("POST", "/models", display_name="m", context_window=1, end_of_life_at=given)
    assert made["end_of_life_at"] == kept


async def test_a_parent_has_no_parent(office: Office) -> None:
    parent = await system_model(office)
    child = await office.native(
        "POST", "/models", display_name="c", context_window=1, parent_model_id=parent["id"]
    )
    body = {"display_name": "g", "context_window": 1, "parent_model_id": child["id"]}
    assert (await office.refusal(422, "POST", "/models", body=body))["field"] == "parent_model_id"
    assert (await office.refusal(422, "PUT", f"/models/{child['id']}", body=body))[
        "field"
    ] == "parent_model_id"
    other = await office.native("POST", "/models", display_name="o", context_window=1, provider="scripted")
    card = {"display_name": "p", "context_window": 1, "provider": "scripted", "model_name": "scripted"}
    body = {**card, "parent_model_id": other["id"]}
    problem = await office.refusal(422, "PUT", f"/models/{parent['id']}", body=body)
    assert problem["field"] == "parent_model_id", "it is a parent itself"


async def test_pages_go_through_the_whole_catalogue(office: Office) -> None:
    for n in range(4):
        await office.native("POST", "/models", display_name=str(n), context_window=1)
    found: list[str] = []
    cursor = ""
    while True:
        page = await office.native("GET", f"/models?limit=2{cursor}")
        found += [model["id"] for model in page["items"]]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(found) == len(set(found)) == 5
    assert found == sorted(found)
    for query, code in (
        ("limit=0", "invalid_field"),
        ("cursor=x", "bad_cursor"),
        ("cursor=WzFd", "bad_cursor"),
    ):
        assert (await office.refusal(422, "GET", f"/models?{query}"))["code"] == code


async def test_only_administrators_change_the_catalogue(office: Office) -> None:
    member, reader = await office.person(), await office.person("read-only")
    body = {"display_name": "m", "context_window": 1}
    model = await system_model(office)
    for caller in (member, reader):
        assert (await office.native("GET", "/models", caller))["items"] == [model]
        for method, path in (
            ("POST", "/models"),
            ("PUT", f"/models/{model['id']}"),
            ("DELETE", f"/models/{model['id']}"),
        ):
            problem = await office.refusal(
                403, method, path, caller, body=None if method == "DELETE" else body
            )
            assert (problem["code"], problem["detail"]) == (
                "missing_scope",
                "Missing required scope: models:write",
            )
    admin = await office.person("admin")
    await office.native("POST", "/models", admin, **body)
    stranger = await office.organisation()
    for method in ("GET", "DELETE"):
        await office.refusal(404, method, f"/models/{model['id']}", stranger)
