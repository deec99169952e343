"""What is printed of a journal's events, whatever the order of connections, and how an ending is said."""

from __future__ import annotations

from typing import Any

import pytest

from chatkeep.cli.following import Ending, Following
from chatkeep.cli.patience import Patience
from chatkeep.cli.remote import Refused, Unreachable
from chatkeep.cli.screen import Screen
from chatkeep.domain.run import INTERRUPTED

COMPLETED = Ending("completed")


@pytest.fixture
def answer() -> Following:
    return Following("r", "q", 3, Screen())


def answered(content: str, status: str = "complete", error: str | None = None) -> dict[str, Any]:
    return {
        "id": "a",
        "parent_id": "q",
        "role": "assistant",
        "content": content,
        "status": status,
        "error": error,
    }


def snapshot(*messages: Any, status: str | None = None) -> dict[str, Any]:
    return {"chat": {"status": status, "last_error": "It fell."}, "messages": list(messages)}


def test_pieces_are_printed_once_each_and_the_end_adds_what_is_missing(
    answer: Following, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer.take("run.started", {"run_id": "r", "answer_id": "a"}, 4) is None
    assert answer.take("run.delta", {"run_id": "r", "text": "Par"}, 5) is None
    assert answer.take("run.delta", {"run_id": "another", "text": "Rome"}, 6) is None
    assert (
        answer.take("run.completed", {"run_id": "r", "message": answered("Paris"), "error": None}, 7)
        == COMPLETED
    )
    assert (capsys.readouterr().out, answer.cursor) == ("Paris", 7)


def test_a_snapshot_in_the_middle_brings_what_was_folded(
    answer: Following, capsys: pytest.CaptureFixture[str]
) -> None:
    answer.take("run.delta", {"run_id": "r", "text": "Par"}, 5)
    said = answered("Paris", "generating")
    assert answer.take("snapshot", snapshot(answered("Rome") | {"parent_id": "x"}, said), 9) is None
    assert answer.take("run.delta", {"run_id": "r", "text": "."}, 10) is None
    assert capsys.readouterr().out == "Paris."


@pytest.mark.parametrize(
    ("message", "ending"),
    [
        (answered("Paris"), COMPLETED),
        (answered("Pa", "incomplete"), Ending("stopped")),
        (answered("Pa", "incomplete", "It fell."), Ending("failed", "It fell.")),
    ],
)
def test_a_snapshot_after_the_end_is_the_end(answer: Following, message: Any, ending: Ending) -> None:
    assert answer.take("snapshot", snapshot(message), 9) == ending


def test_an_answer_that_never_began_has_failed_unless_it_is_still_generated(answer: Following) -> None:
    assert answer.take("snapshot", snapshot(status="generating"), 9) is None
    assert answer.take("snapshot", snapshot(status="error"), 10) == Ending("failed", "It fell.")


def test_an_answer_that_is_gone_on_with_is_printed_from_its_beginning(
    answer: Following, capsys: pytest.CaptureFixture[str]
) -> None:
    answer.take("message.updated", {"run_id": "r", "message": answered("Once ", "generating")}, 4)
    answer.take("run.delta", {"run_id": "r", "text": "more"}, 5)
    answer.take("run.stopped", {"run_id": "r", "message": answered("Once more", "incomplete")}, 6)
    assert capsys.readouterr().out == "Once more"


@pytest.mark.parametrize("data", [None, 1, [], {}, {"run_id": "r"}, {"messages": 1}, {"messages": [1]}])
@pytest.mark.parametrize("kind", ["snapshot", "run.delta", "run.started", "message.updated", "run.stopped"])
def test_whatever_comes_breaks_nothing(answer: Following, kind: str, data: Any) -> None:
    answer.take(kind, data, None)
    assert (answer.cursor, answer.written) == (3, "")


def test_every_ending_has_its_words() -> None:
    assert COMPLETED.words == ""
    assert Ending("stopped").words == "The answer was stopped."
    assert Ending("failed", "It fell.").words == "The answer failed: It fell."
    assert Ending("failed", INTERRUPTED).words.startswith("The answer was interrupted: ")


def test_a_server_that_never_answered_is_not_waited_for() -> None:
    with pytest.raises(Unreachable):
        Patience(Screen()).lost(Unreachable("connection refused"))


def test_patience_ends_and_what_time_does_not_mend_is_not_waited_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    patience = Patience(Screen(), give_up_s=0.0)
    patience.found()
    patience.lost(Unreachable("connection refused"))
    with pytest.raises(Unreachable):
        patience.lost(Unreachable("connection refused"))
    patience.found()
    patience.lost(Refused("The server is shutting down; try again shortly.", "shutting_down"))
    with pytest.raises(Refused):
        patience.lost(Refused("Chat not found.", "not_found"))
    assert capsys.readouterr().err.splitlines() == [
        "The server is away (connection refused); reconnecting …",
        "The server is away (the server is shutting down; try again shortly); reconnecting …",
    ]
