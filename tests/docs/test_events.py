"""The page of events has every kind, with an example of the shape that is seen on the wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from chatkeep.domain.event import EVENT_KINDS
from tests.clients.transcripts import differences
from tests.docs.events_page import SHAPES, examples_in, kinds_of, page, seen
from tests.world import World

PAGE = Path(__file__).resolve().parents[2] / "docs" / "events.md"
OF_STREAMS = {"snapshot", "reconnect", "error"}
SHAPE_OF = {kind: shape for shape in SHAPES for kind in kinds_of(shape)}


def test_every_kind_has_a_shape_and_nothing_else_has() -> None:
    assert set(SHAPE_OF) == {*EVENT_KINDS, *OF_STREAMS}
    assert sum(len(kinds_of(shape)) for shape in SHAPES) == len(SHAPE_OF)


def test_the_page_is_what_the_shapes_say() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(examples_in(text)), "python -m tests.docs.events_page > docs/events.md"


async def test_the_examples_are_what_comes_over_the_wire(tmp_path: Path) -> None:
    wire = await seen(tmp_path / "data")
    told = examples_in(PAGE.read_text(encoding="utf-8"))
    assert set(told) == set(wire) == set(SHAPE_OF)
    for kind, example in told.items():
        assert differences(_masked(example), _masked(wire[kind])) == [], kind
        adapter = TypeAdapter(SHAPE_OF[kind])
        adapter.validate_python(wire[kind], strict=True)
        assert wire[kind].keys() <= adapter.json_schema()["properties"].keys(), kind


def _masked(example: dict[str, Any]) -> str:
    return json.dumps(
        {**example, "seq": 0, "after": 0}
    )  # how many pieces come before it is the clock's choice


async def test_the_document_has_the_schema_of_every_kind(world: World) -> None:
    document = (await world.client.get("/chatkeep/v1/openapi.json")).json()
    follow = document["paths"]["/chats/{chat_id}/events"]["get"]["responses"]["200"]["content"]
    data = follow["text/event-stream"]["schema"]["properties"]["data"]["contentSchema"]
    named = {each["$ref"].rpartition("/")[2] for each in data["anyOf"]}
    assert named == {shape.__name__ for shape in SHAPES}
    schemas = document["components"]["schemas"]
    told = {kind for name in named for kind in _kinds(schemas[name]["properties"]["type"])}
    assert told == set(SHAPE_OF)
    assert follow["application/json"]["schema"]["$ref"].endswith("/EventPage")


def _kinds(schema: dict[str, Any]) -> list[str]:
    return schema.get("enum") or [schema["const"]]
