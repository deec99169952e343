"""The four documentation pages this server honours, read as they are: request examples, printed objects, fields.

The pages are copies of `shared/seeds/`, because a clone has no such folder. Nothing here is retyped from them: what
the tests run, store and compare with is cut out of the pages' own text.
"""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # comes with schemathesis, without types

PAGES = Path(__file__).parent / "seeds"
DIALECTS = ("cuadra", "openwebui", "lexicon", "synthflow")

Json = dict[str, Any]

_FENCED = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?P<info>[^\n]*)\n(?P<code>.*?)^ *```", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_CURL = re.compile(r"^curl (?:.*\\\n)*.*$", re.MULTILINE)
_TAG = re.compile(r"<(Param|Response)Field ([^>]*)>")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_OPENWEBUI_FIELD = re.compile(r"^(\w+)\n(string|object|integer|boolean)\n(required\n)?(.+)$", re.MULTILINE)


def page(dialect: str) -> str:
    """The page's whole text."""
    return (PAGES / f"{dialect}_get_chat.txt").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Example:
    """A request as a page prints it; `title` tells two of one language apart."""

    dialect: str
    language: str
    title: str
    code: str

    @property
    def name(self) -> str:
        return f"{self.dialect}-{self.title}"


def examples() -> list[Example]:
    """Every request that any page prints."""
    return [*_openwebui_examples(), *_fenced_examples("lexicon"), *_fenced_examples("synthflow")]


def example(name: str) -> Example:
    """The one example of this name."""
    [found] = [each for each in examples() if each.name == name]
    return found


def _openwebui_examples() -> list[Example]:
    printed = set(_CURL.findall(page("openwebui")))  # the page prints it twice
    return [Example("openwebui", "bash", "bash", code) for code in printed]


def _fenced_examples(dialect: str) -> list[Example]:
    text = page(dialect)
    found: list[Example] = []
    for block in _FENCED.finditer(text):
        language = block["language"]
        if language in ("json", "yaml"):
            continue
        heading = _HEADING.findall(text[: block.start()])[-1]
        title = "react" if "React" in heading else language
        found.append(Example(dialect, language, title, textwrap.dedent(block["code"])))
    return found


def printed_object(dialect: str) -> Json:
    """The answer that the page prints as an example: a chat, or for Cuadra the model in it."""
    text = page(dialect)
    starts = {
        "openwebui": '{\n  "id"',
        "lexicon": '{\n    "id"',
        "cuadra": '{\n"contextWindow"',
    }
    made: Json = json.JSONDecoder().raw_decode(text, text.index(starts[dialect]))[0]
    return made


@dataclass(frozen=True)
class Parameter:
    """A parameter of the request: where it goes, what it is called."""

    place: str
    name: str
    type: str


def lexicon_parameters() -> list[Parameter]:
    """Lexicon's `ParamField`s."""
    places = ("header", "path", "query")
    return [
        Parameter(place, attributes[place], attributes["type"])
        for attributes in _lexicon_tags("Param")
        for place in places
        if place in attributes
    ]


def lexicon_fields() -> dict[str, Json]:
    """Lexicon's `ResponseField`s as JSON Schemas by name."""
    fields: dict[str, Json] = {}
    for attributes in _lexicon_tags("Response"):
        kind = {"type": attributes["type"].split(" | ")}
        form = {"format": attributes["format"]} if "format" in attributes else {}
        fields[attributes["name"]] = {**kind, **form}
    return fields


def _lexicon_tags(wanted: str) -> list[dict[str, str]]:
    found = _TAG.findall(page("lexicon"))
    return [dict(_ATTRIBUTE.findall(attributes)) for tag, attributes in found if tag == wanted]


def openwebui_fields() -> dict[str, Json]:
    """Open WebUI's response fields as JSON Schemas by name; "null if" in a description says that null is a value."""
    text = page("openwebui")
    listed = text[text.index("\nResponse\n") : text.rindex("curl ")]
    fields: dict[str, Json] = {}
    for name, kind, required, description in _OPENWEBUI_FIELD.findall(listed):
        is_nullable = not required and "null if" in description
        fields[name] = {"type": [kind, "null"] if is_nullable else [kind]}
    return fields


def synthflow_document() -> Json:
    """The OpenAPI document inside Synthflow's page."""
    [block] = [each for each in _FENCED.finditer(page("synthflow")) if each["language"] == "yaml"]
    made: Json = yaml.safe_load(block["code"])
    return made
