"""The tree of messages: paths and children, for every tree there can be."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chatkeep.domain.ids import ChatId, MessageId
from chatkeep.domain.message import Message, children_of, path_to


@st.composite
def trees(draw: st.DrawFn, *, is_line: bool = False) -> list[Message]:
    """Messages in the order they were written: each follows an earlier one, or none."""
    messages: list[Message] = []
    for n in range(draw(st.integers(0, 12))):
        before = draw(st.none() | st.integers(0, n - 1)) if n else None
        if is_line:
            before = n - 1 if n else None
        parent_id = None if before is None else messages[before].id
        messages.append(
            Message(
                chat_id=ChatId("c"),
                id=MessageId(f"m{n}"),
                seq=n + 1,
                parent_id=parent_id,
                role="user",
                content="",
                turn_number=0,
                created_at=0,
            )
        )
    return messages


@given(trees(), st.data())
def test_a_path_goes_from_a_root_to_the_tip_along_parents(
    messages: list[Message], data: st.DataObject
) -> None:
    if not messages:
        return
    tip = data.draw(st.sampled_from(messages))
    path = path_to(messages, tip.id)
    assert path[-1] is tip
    assert path[0].parent_id is None
    assert [message.parent_id for message in path[1:]] == [message.id for message in path[:-1]]
    assert [message.seq for message in path] == sorted(message.seq for message in path)


@given(trees(is_line=True))
def test_the_path_of_a_line_is_the_line(messages: list[Message]) -> None:
    assert path_to(messages, messages[-1].id if messages else None) == messages
    for n, message in enumerate(messages):
        assert path_to(messages, message.id) == messages[: n + 1]


@given(trees())
def test_no_tip_and_an_unknown_tip_have_no_path(messages: list[Message]) -> None:
    assert path_to(messages, None) == []
    assert path_to(messages, MessageId("unknown")) == []
    assert path_to([], MessageId("m0")) == []


@given(trees())
def test_children_are_the_other_side_of_parents_in_the_order_written(messages: list[Message]) -> None:
    children = children_of(messages)
    assert list(children) == [message.id for message in messages]
    for message in messages:
        wanted = [other.id for other in messages if other.parent_id == message.id]
        assert children[message.id] == wanted
    leaves = [name for name, after in children.items() if not after]
    assert bool(leaves) is bool(messages)


@given(trees())
def test_every_message_is_on_the_path_to_some_leaf(messages: list[Message]) -> None:
    leaves = [name for name, after in children_of(messages).items() if not after]
    seen = {message.id for leaf in leaves for message in path_to(messages, leaf)}
    assert seen == {message.id for message in messages}


@given(trees(is_line=True).filter(bool))
def test_two_roots_are_no_line(messages: list[Message]) -> None:
    second = replace(messages[0], id=MessageId("root"), seq=len(messages) + 1)
    assert path_to([*messages, second], second.id) == [second]
    assert path_to([*messages, second], messages[-1].id) == messages


@given(trees(), st.data())
def test_a_path_ends_where_damaged_rows_go_in_a_circle(messages: list[Message], data: st.DataObject) -> None:
    if not messages:
        return
    place = data.draw(st.integers(0, len(messages) - 1))
    child = data.draw(st.sampled_from(messages[place:]))
    messages[place] = replace(messages[place], parent_id=child.id)
    path = path_to(messages, child.id)
    assert len(path) == len({message.id for message in path}) <= len(messages)
