"""The OpenAPI document of a dialect: shapes of answers are looked at when somebody asks for it, not at start.

Answers are written from `TypedDict`s and never validated: FastAPI's validator of each answer's shape would serve the
document alone, and building them all was a fifth of the start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.routing import BaseRoute

Responses = dict[int | str, dict[str, Any]]
JSON = "application/json"
EVENTS = "text/event-stream"
REFERENCE = "#/components/schemas/{model}"


class Shape(dict[str, Any]):
    """The schema of one answer (a type, or a union of some): empty until the document is made."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


def answer_of(model: type, description: str, media_type: str = JSON) -> dict[str, Any]:
    """One entry of a route's `responses` whose body is a `model`."""
    return {"description": description, "content": {media_type: {"schema": Shape(model)}}}


def stream_of(model: Any) -> dict[str, Any]:
    """The `content` of server-sent events, each with a `model` as its data."""
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": Shape(model)}
    fields = {"id": {"type": "string"}, "event": {"type": "string"}, "data": data}
    return {EVENTS: {"schema": {"type": "object", "properties": fields, "required": ["event", "data"]}}}


class DocumentedRoute(APIRoute):
    """A route that takes `responses={status: {"model": …}}` and leaves the model alone until it is asked about."""

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, responses: Responses | None = None, **options: Any
    ) -> None:
        shaped = {status: _shaped(answer) for status, answer in (responses or {}).items()}
        super().__init__(path, endpoint, responses=shaped, **options)


class DocumentedApp(FastAPI):
    """An application whose document knows the shapes of `DocumentedRoute`s and of `errors`."""

    def __init__(self, *, errors: dict[str, Any], **options: Any) -> None:
        super().__init__(responses={"4XX": errors, "5XX": errors}, **options)
        self._errors = errors
        self._described: list[BaseRoute] = []

    def describe(self, routes: Sequence[BaseRoute]) -> None:
        """Put the answers of `routes` into the document."""
        self._described.extend(routes)

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            schemas = self._fill()
            document = super().openapi()
            document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
        return super().openapi()

    def _fill(self) -> dict[str, Any]:
        answers = [self._errors]
        for route in self._described:
            if isinstance(route, APIRoute):
                answers.extend(route.responses.values())
        shapes = [shape for answer in answers for shape in _shapes(answer)]
        references, definitions = TypeAdapter.json_schemas(
            [(shape.model, "serialization", TypeAdapter[Any](shape.model)) for shape in shapes],
            ref_template=REFERENCE,
        )
        for shape in shapes:
            shape.update(references[shape.model, "serialization"])
        schemas: dict[str, Any] = definitions.get("$defs", {})
        return schemas


def _shaped(answer: dict[str, Any]) -> dict[str, Any]:
    if "model" not in answer:
        return answer
    others = {name: value for name, value in answer.items() if name != "model"}
    content = {**others.get("content", {}), JSON: {"schema": Shape(answer["model"])}}
    return {**others, "content": content}


def _shapes(answer: dict[str, Any]) -> list[Shape]:
    within = [each for each in answer.values() if isinstance(each, dict)]
    found = [shape for each in within if not isinstance(each, Shape) for shape in _shapes(each)]
    return [each for each in within if isinstance(each, Shape)] + found
