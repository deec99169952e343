"""/metrics: what is counted, and that no label holds what came from outside."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.flows.office import Office, idle
from tests.upstream import DONE, Raw, ScriptedUpstream, finish_event, text_event
from tests.world import NATIVE, FakeClock, open_world

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECRET = "kanarienvogel"
TOKEN = "prometheus may look"


async def metrics(office: Office) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Name -> labels -> value, as Prometheus reads it."""
    response = await office.client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(response.text):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def _labels(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


async def test_requests_are_counted_and_timed_by_door(office: Office) -> None:
    asked = _labels(door="native", method="GET", status="200")
    missed = _labels(door="native", method="GET", status="404")
    before = await metrics(office)
    chat = await office.chat()
    for _ in range(3):
        await office.read(chat["id"])
    await office.refusal(404, "GET", "/chats/nope")
    after = await metrics(office)
    counted, timed = "chatkeep_requests_total", "chatkeep_request_seconds_count"
    assert after[counted][asked] - before.get(counted, {}).get(asked, 0) == 3
    assert after[counted][missed] - before.get(counted, {}).get(missed, 0) == 1
    native = _labels(door="native")
    assert after[timed][native] - before.get(timed, {}).get(native, 0) == 5
    last = after["chatkeep_request_seconds_bucket"][_labels(door="native", le="+Inf")]
    assert last == after[timed][native]
    assert after["chatkeep_request_seconds_sum"][native] > 0
    assert list(after["chatkeep_build"].values()) == [1]


async def test_answers_under_way_are_counted(office: Office) -> None:
    chat = await office.chat()
    office.upstream.play(Raw([text_event("a"), None, finish_event(), DONE]))
    task = asyncio.ensure_future(office.ask("POST", f"/chats/{chat['id']}/generate", body={"message": "x"}))
    await office.upstream.until_requests()
    assert (await metrics(office))["chatkeep_runs_running"][()] == 1
    office.upstream.go_on()
    await task
    await idle(office)
    assert (await metrics(office))["chatkeep_runs_running"][()] == 0


async def test_with_a_token_set_only_its_bearer_is_told(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream() as upstream,
        open_world(tmp_path, FakeClock(), upstream, metrics_token=TOKEN) as world,
    ):
        for headers in (
            {},
            {"authorization": ""},
            {"authorization": "Bearer"},
            {"authorization": TOKEN},
            {"authorization": f"Basic {TOKEN}"},
            {"authorization": f"Bearer {TOKEN}x"},
            {"authorization": f"Bearer {TOKEN[:-1]}"},
            world.owner.bearer,
        ):
            for method in ("GET", "HEAD"):
                refused = await world.client.request(method, "/metrics", headers=headers)
                assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
                assert refused.headers["content-type"] == "application/problem+json"
                assert "chatkeep_" not in refused.text
        for scheme in ("Bearer", "bearer"):
            told = await world.client.get("/metrics", headers={"authorization": f"{scheme} {TOKEN}"})
            assert (told.status_code, "chatkeep_build" in told.text) == (200, True)
        assert (await world.client.get("/health")).status_code == 200


async def test_no_label_holds_what_came_from_outside(office: Office) -> None:
    chat = await office.chat(SECRET, id=SECRET)
    await office.client.request("SECRET" + SECRET, f"{NATIVE}/chats/{SECRET}", headers=office.owner.bearer)
    await office.client.get(f"/{SECRET}?{SECRET}={SECRET}", headers={"x-request-id": SECRET})
    text = (await office.client.get("/metrics")).text
    assert SECRET not in text.lower()
    for word in (chat["id"], office.owner.key, office.owner.organisation_id, office.owner.principal_id):
        assert word not in text
    allowed = {
        "door": {*office.server.edge._dialects, "edge"},
        "method": None,
        "status": None,
        "le": None,
        "version": None,
    }
    for values in (await metrics(office)).values():
        for labels in values:
            for name, value in labels:
                assert name in allowed
                assert allowed[name] is None or value in (allowed[name] or ())
                assert re.fullmatch(r"[\w.+-]+", value)
