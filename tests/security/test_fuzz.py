"""Schemathesis against every dialect's own OpenAPI document, with all of its checks: no 5xx, nothing undocumented (T3).

The run is the same every time. `make test-long` runs it with many more examples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from schemathesis.engine import events, from_schema

from tests.contract.dialects.speaking import SPEAKERS
from tests.security.fuzzing import Served, serving
from tests.security.rows import Database

EXAMPLES = 25
EXAMPLES_LONG = 100
DIALECTS = pytest.mark.parametrize("dialect", [speaker.name for speaker in SPEAKERS])

# A request that fits the document and is refused all the same is a gap in the document, but for what JSON Schema cannot
# say. Each reason is the server's own sentence, so that a refusal for anything else is still found.
BEYOND_A_SCHEMA = {
    "must not contain NUL": "text is free but for one character",
    "no such (model|folder|agent|person|message|answer)": "ids of other objects",
    "no such provider here": "what the operator configured",
    "this model has no provider": "and what these objects are",
    "must name a model that has no parent": "and of what kind",
    "The cursor is not one of this list": "a cursor comes from the page before",
    "must be the id of an event of this chat": "and this one from the stream before",
    "at most [0-9]+ bytes": "bytes are not characters",
    "a tool message names the call it answers": "one field depends on another",
    "each tool needs a name of its own|names none of `tools`|needs `tools`": "one field depends on another",
    "has no such call|calls are still missing": "it depends on the chat",
    "only a service may create chats as": "it depends on the caller",
    "was used before with a different request": "it depends on an earlier request",
    "has changed since the version named in If-Match": "it depends on the chat",
    "toolCallId is required when role is tool": "one field depends on another",
    "needs content|only an assistant has toolCalls": "one field depends on another",
    "is not served yet": "as its description says; it will be",
    "Input should be a valid integer": "JSON Schema counts 1.0 as an integer, a strict body does not",
    "has a field twice": "a form may, and which one counts is anybody's guess",
    "The email or password provided is incorrect": "it depends on who there is",
    "This chat is (completed|cancelled)": "it depends on the chat",
    "only a new one can be ephemeral": "it depends on the chat",
    "takes no further messages": "it depends on the chat",
    "nothing was said in this chat yet": "it depends on the chat",
    "must be a time from 1970 to 9999": "a format of text has no bounds",
    "is nested deeper|more than [0-9]+ (values|digits)|out of range": "bounds of the JSON itself",
}
TEXTS_ONLY = "violates `anyOf` at /properties/expand[]"
"""A list of free texts in a query: whatever else Schemathesis puts into it arrives as a text."""
EXPECTED = re.compile("|".join(BEYOND_A_SCHEMA))


@dataclass(frozen=True)
class Finding:
    """One failed check."""

    operation: str
    check: str
    message: str
    request: str
    answer: str

    def __str__(self) -> str:
        lines = (
            f"{self.operation}: {self.check}",
            self.message,
            self.request[:600],
            f"answered {self.answer[:300]}",
        )
        return "\n  ".join(lines)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shared_database: Database | None) -> Iterator[Served]:
    """A world on a thread of its own."""
    with serving(tmp_path_factory.mktemp("fuzz") / "data", shared_database) as running:
        yield running


@pytest.mark.sqlite
@DIALECTS
def test_no_request_that_the_document_allows_or_forbids_surprises(served: Served, dialect: str) -> None:
    check(served, dialect, EXAMPLES)


@pytest.mark.long
@DIALECTS
def test_no_request_surprises_in_many_tries(served: Served, dialect: str) -> None:
    check(served, dialect, EXAMPLES_LONG)


def check(served: Served, dialect: str, examples: int) -> None:
    """Run all phases and say what was found."""
    findings: dict[tuple[str, str, str], Finding] = {}
    operations: set[str] = set()
    checks = 0
    for event in from_schema(served.schema(dialect, examples=examples)).execute():
        assert not isinstance(event, events.FatalError), event.exception
        assert not isinstance(event, events.NonFatalError), f"{event.label}: {event.value}"
        if isinstance(event, events.ScenarioFinished):
            operations.add(event.recorder.label)
            for finding in _findings(event.recorder):
                findings.setdefault((finding.operation, finding.check, finding.answer[:160]), finding)
            checks += sum(map(len, event.recorder.checks.values()))
    assert len(operations) >= 4
    assert checks > 500, "hardly anything was checked"
    assert not findings, f"{len(findings)} findings\n" + "\n".join(map(str, findings.values()))


def _findings(recorder: Any) -> Iterator[Finding]:
    for case_id, nodes in recorder.checks.items():
        for node in nodes:
            if node.failure_info is None:
                continue
            interaction = recorder.interactions[case_id]
            answer = interaction.response
            text = (
                "nothing"
                if answer is None
                else f"{answer.status_code} {answer.content.decode(errors='replace')}"
            )
            if node.name == "positive_data_acceptance" and EXPECTED.search(text):
                continue
            failure = node.failure_info.failure
            message = f"{failure.title}: {failure.message}".replace("\n", " ")
            if node.name == "negative_data_rejection" and TEXTS_ONLY in message:
                continue
            yield Finding(recorder.label, node.name, message, node.failure_info.code_sample, text)
