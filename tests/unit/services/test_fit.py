"""What of a chat is given to the model: the prompts, then the newest messages that fit, in order."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chatkeep.domain.ids import ChatId, MessageId
from chatkeep.domain.json import JsonValue
from chatkeep.domain.message import Message, MessageRole
from chatkeep.models.port import Turn
from chatkeep.services.generating import BYTES_PER_TOKEN
from chatkeep.services.prompting import fit
from chatkeep.store.rows import json_bytes

ROLES: tuple[MessageRole, ...] = ("user", "assistant", "system", "tool")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
said = st.lists(st.tuples(st.sampled_from(ROLES), texts), max_size=12)


def path(*messages: tuple[MessageRole, str]) -> list[Message]:
    return [
        Message(
            chat_id=ChatId("c"),
            id=MessageId(str(n)),
            seq=n + 1,
            parent_id=MessageId(str(n - 1)) if n else None,
            role=role,
            content=content,
            turn_number=n,
            created_at=n,
        )
        for n, (role, content) in enumerate(messages)
    ]


def calling(
    messages: list[Message], position: int, *ids: str, role: MessageRole = "assistant"
) -> list[Message]:
    """The same path, with calls of these ids in one message."""
    messages[position] = replace(messages[position], role=role, tool_calls=[call(each) for each in ids])
    return messages


def answering(messages: list[Message], **ids: int) -> list[Message]:
    """The same path, with results to calls of these ids at these positions."""
    for call_id, position in ids.items():
        messages[position] = replace(messages[position], tool_call_id=call_id)
    return messages


def call(call_id: str) -> dict[str, JsonValue]:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}


def size(turns: tuple[Turn, ...]) -> int:
    return sum(len(turn.content.encode()) for turn in turns)


def test_everything_goes_in_where_there_is_room() -> None:
    turns = fit(["Be brief.", "Rhyme."], path(("user", "a"), ("assistant", "b"), ("user", "c")), 100)
    assert turns == (
        Turn("system", "Be brief.\n\nRhyme."),
        Turn("user", "a"),
        Turn("assistant", "b"),
        Turn("user", "c"),
    )


def test_without_prompts_there_is_no_system_turn() -> None:
    assert fit([], path(("user", "a")), 100) == (Turn("user", "a"),)
    assert fit([], [], 100) == ()
    assert fit(["x"], [], 100) == (Turn("system", "x"),)


def test_the_oldest_messages_are_left_out_first() -> None:
    messages = path(*[("user", str(n) * 30) for n in range(10)])
    turns = fit([], messages, 30)
    assert [turn.content[0] for turn in turns] == ["7", "8", "9"]


def test_the_last_message_goes_in_even_if_it_must_be_cut() -> None:
    assert fit([], path(("user", "old"), ("user", "x" * 1000)), 64) == (
        Turn("user", "x" * 64 * BYTES_PER_TOKEN),
    )
    (turn,) = fit([], path(("user", "語" * 1000)), 64)
    assert turn.content == "語" * 64, "three bytes a token: a character of Chinese is about one"


def test_the_prompts_take_no_more_than_half() -> None:
    head, question = fit(["p" * 10_000], path(("user", "q" * 10_000)), 100)
    assert (len(head.content), len(question.content)) == (150, 150)


def test_results_of_no_call_and_empty_messages_are_left_out_and_take_no_room() -> None:
    messages = path(("user", "first"), ("tool", "x" * 10_000), ("assistant", ""), ("user", "last"))
    assert fit([], messages, 64) == (Turn("user", "first"), Turn("user", "last"))
    assert fit([], path(("user", "asked"), ("tool", "result")), 64) == (Turn("user", "asked"),)


def test_calls_go_in_with_their_results_in_the_order_of_the_calls() -> None:
    said = path(("user", "a"), ("assistant", "b"), ("tool", "second"), ("tool", "first"), ("user", "c"))
    messages = answering(calling(said, 1, "x", "y"), y=2, x=3)
    assert fit([], messages, 1000) == (
        Turn("user", "a"),
        Turn("assistant", "b", (call("x"), call("y"))),
        Turn("tool", "first", tool_call_id="x"),
        Turn("tool", "second", tool_call_id="y"),
        Turn("user", "c"),
    )


def test_of_two_results_to_one_call_the_later_counts_and_one_of_no_call_is_left_out() -> None:
    said = path(("user", "a"), ("assistant", ""), ("tool", "old"), ("tool", "new"), ("tool", "whose?"))
    messages = calling(said, 1, "x")
    for position, call_id in ((2, "x"), (3, "x"), (4, "z")):
        messages[position] = replace(messages[position], tool_call_id=call_id)
    asked, *rest = fit([], messages, 1000)
    assert asked == Turn("user", "a")
    assert rest == [Turn("assistant", "", (call("x"),)), Turn("tool", "new", tool_call_id="x")]


def test_calls_without_all_their_results_are_left_out_and_the_text_stays() -> None:
    said = path(("user", "a"), ("assistant", "b"), ("tool", "only one"), ("user", "c"))
    one_lacks = answering(calling(said, 1, "x", "y"), x=2)
    assert fit([], one_lacks, 1000) == (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))
    empty = calling(path(("user", "a"), ("assistant", ""), ("user", "c")), 1, "x")
    assert fit([], empty, 1000) == (Turn("user", "a"), Turn("user", "c"))
    late = path(("user", "a"), ("assistant", "b"), ("user", "c"), ("tool", "too late"))
    assert fit([], answering(calling(late, 1, "x"), x=3), 1000)[1:] == (
        Turn("assistant", "b"),
        Turn("user", "c"),
    )


def test_only_an_assistants_calls_in_openais_form_are_calls() -> None:
    said = path(("user", "a"), ("assistant", "b"), ("tool", "r"))
    for odd in ("x", {"id": 1}, {"id": "x", "function": {"name": "f", "arguments": {}}}):
        messages = answering(list(said), x=2)
        messages[1] = replace(messages[1], tool_calls=[call("x"), odd])  # type: ignore[list-item]  # JSON
        assert fit([], messages, 1000) == (Turn("user", "a"), Turn("assistant", "b"))
    users = answering(calling(list(said), 1, "x", role="user"), x=2)
    assert fit([], users, 1000) == (Turn("user", "a"), Turn("user", "b"))


def test_calls_and_results_are_cut_away_together() -> None:
    said = path(("user", "a"), ("assistant", ""), ("tool", "x" * 150), ("user", "last"))
    messages = answering(calling(said, 1, "x"), x=2)
    assert fit([], messages, 64) == (Turn("user", "last"),)
    assert len(fit([], messages, 200)) == 4


def test_the_last_results_go_in_even_if_each_must_be_cut() -> None:
    said = path(
        ("user", "a"), ("assistant", "b"), ("tool", "long" * 100), ("tool", "short"), ("tool", "more" * 100)
    )
    messages = answering(calling(said, 1, "x", "y", "z"), x=2, y=3, z=4)
    turns = fit([], messages, 150)
    assert [turn.role for turn in turns] == ["assistant", "tool", "tool", "tool"]
    long, short, more = turns[1:]
    assert short.content == "short"
    assert 50 < len(long.content) <= len(more.content) <= len(long.content) + 1 < 150
    assert 440 < size(turns) + json_bytes(turns[0].tool_calls) <= 150 * BYTES_PER_TOKEN


def test_there_is_no_gap() -> None:
    messages = path(("user", "small"), ("assistant", "x" * 190), ("user", "last"))
    assert fit([], messages, 64) == (Turn("user", "last"),)


@given(heads=st.lists(texts.filter(bool), max_size=3), messages=said, tokens_max=st.integers(64, 200))
def test_it_fits_and_is_the_newest_there_is(
    heads: list[str], messages: list[tuple[MessageRole, str]], tokens_max: int
) -> None:
    turns = fit(heads, path(*messages), tokens_max)
    room = tokens_max * BYTES_PER_TOKEN
    assert size(turns) <= room
    eligible = [Turn(role, content) for role, content in messages if role != "tool" and content]
    spoken = turns[1:] if heads else turns
    if heads:
        assert turns[0].role == "system"
        assert "\n\n".join(heads).startswith(turns[0].content)
    assert bool(spoken) is bool(eligible)
    newest = eligible[len(eligible) - len(spoken) :]
    assert [turn.role for turn in spoken] == [turn.role for turn in newest]
    for turn, whole in zip(spoken, newest, strict=True):
        assert whole.content.startswith(turn.content)
        assert turn.content
    if len(spoken) > 1:
        assert list(spoken) == newest
    if len(spoken) < len(eligible):
        next_older = eligible[-len(spoken) - 1]
        assert size((*turns, next_older)) > room


def test_an_answer_that_is_too_long_to_be_continued_whole_is_given_its_end() -> None:
    (turn,) = fit([], path(("user", "Count"), ("assistant", "one two " * 100 + "three")), 10)
    assert turn.role == "assistant"
    assert turn.content.endswith("two three")
    assert len(turn.content) == 10 * BYTES_PER_TOKEN
