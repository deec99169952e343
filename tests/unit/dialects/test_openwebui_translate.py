"""Open WebUI's trees to rows and back, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatkeep.dialects.openwebui import errors, history, translate, wire
from chatkeep.dialects.openwebui.history import Author, PostedMessages
from chatkeep.dialects.openwebui.translate import Names
from chatkeep.domain.chat import Chat, ChatThread, NewChat
from chatkeep.domain.errors import ChatkeepError, InvalidCredential, InvalidField, NotFound, UnreadableToken
from chatkeep.domain.ids import ChatId, MessageId, ModelId, OrganisationId, PrincipalId
from chatkeep.domain.message import Message, NewMessage
from chatkeep.web.answers import write
from chatkeep.web.statuses import DEFAULT

NOW_US = 1_767_268_800_000_000
ME = PrincipalId("me")
AUTHOR = Author(ME, frozenset({"known"}))


def stored(new: NewChat, posted: PostedMessages, **moved: Any) -> ChatThread:
    """What the services make of a new chat, as far as the translation looks at it."""
    before: MessageId | None = None
    messages = []
    for seq, said in enumerate(posted.said, 1):
        message_id = said.id or MessageId(f"made-{seq}")
        parent_id = None if said.is_root else said.parent_id or before
        messages.append(row(said, seq, message_id, parent_id))
        before = message_id
    values: dict[str, Any] = {
        "title": new.title,
        "model_id": new.model_id,
        "system_prompt": new.system_prompt,
        "extra": new.extra,
        "current_message_id": posted.head or before,
        **moved,
    }
    return ChatThread(chat_of(**values), messages)


def row(said: NewMessage, seq: int, message_id: MessageId, parent_id: MessageId | None) -> Message:
    return Message(
        chat_id=ChatId("c"),
        id=message_id,
        seq=seq,
        parent_id=parent_id,
        role=said.role,
        content=said.content,
        turn_number=seq,
        created_at=said.created_at or NOW_US,
        author_id=said.author_id,
        extra=said.extra,
    )


def chat_of(**values: Any) -> Chat:
    whole: dict[str, Any] = dict.fromkeys(Chat.__dataclass_fields__)
    whole.update(
        organisation_id=OrganisationId("o"),
        id=ChatId("c"),
        owner_id=ME,
        owner_name="Me",
        extra={},
        visibility="private",
        pinned=False,
        archived=False,
        created_at=NOW_US,
        updated_at=NOW_US + 5_999_999,
        last_seq=0,
        message_count=0,
        version=1,
        tags=(),
        shared_with=(),
    )
    return Chat(**{**whole, **values})


def round_trip(chat: dict[str, Any], model: str | None = None, **moved: Any) -> Any:
    """Post, store, print; through JSON, as it really goes."""
    posted = history.read_messages(chat, AUTHOR)
    new = translate.new_chat(wire.NewChatIn(chat=chat), posted, None if model is None else ModelId(model))
    return json.loads(write(translate.chat(stored(new, posted, **moved), Names())))


def said(chat: dict[str, Any]) -> list[NewMessage]:
    return history.read_messages(chat, AUTHOR).said


def tree(*nodes: dict[str, Any], current: str | None = None) -> dict[str, Any]:
    return {"history": {"messages": {node["id"]: node for node in nodes}, "currentId": current}}


def node(key: str, parent: str | None = None, at: Any = 0, **more: Any) -> dict[str, Any]:
    return {"id": key, "parentId": parent, "role": "user", "content": key, "timestamp": at, **more}


def order(*nodes: dict[str, Any]) -> list[str | None]:
    return [message.id for message in said(tree(*nodes))]


def test_parents_come_first_whatever_the_times_say() -> None:
    assert order(node("c", "b", 1), node("b", "a", 2), node("a", None, 3)) == ["a", "b", "c"]


def test_time_orders_what_the_tree_leaves_open() -> None:
    nodes = [node("a", at=1), node("x", "a", 5), node("y", "a", 2), node("z", "y", 3), node("r", at=4)]
    assert order(*nodes) == ["a", "y", "z", "r", "x"]


def test_children_keep_the_order_their_parent_gives() -> None:
    nodes = [
        node("a", at=1, childrenIds=["x", "y"]),
        node("y", "a", 2),
        node("x", "a", 3),
        node("late", "a", 1),
    ]
    assert order(*nodes) == ["a", "x", "y", "late"]


def test_without_all_times_the_posted_order_counts() -> None:
    nodes = [node("a", at=9), node("b", at=None), node("c", at=1)]
    assert order(*nodes) == ["a", "b", "c"]


def test_children_alone_make_a_tree() -> None:
    first = {"id": "a", "role": "user", "content": "a", "childrenIds": ["b", 7, "gone"]}
    second = {"id": "b", "role": "assistant", "content": "b", "childrenIds": "broken"}
    assert [(m.id, m.parent_id, m.is_root) for m in said(tree(second, first))] == [
        ("a", None, True),
        ("b", "a", False),
    ]


def test_no_links_at_all_make_a_line_by_time() -> None:
    nodes = [{"id": key, "role": "user", "content": key, "timestamp": at} for key, at in (("b", 2), ("a", 1))]
    posted = history.read_messages(tree(*nodes, current="a"), AUTHOR)
    assert [(m.id, m.parent_id) for m in posted.said] == [("a", None), ("b", "a")]
    assert (posted.head, posted.has_links) == ("a", False)
    assert posted.locations == [("chat", "history", "messages", "a"), ("chat", "history", "messages", "b")]


@pytest.mark.parametrize(
    ("timestamp", "time_us"),
    [
        (1709164800, 1709164800_000_000),
        (1709164800.25, 1709164800_250_000),
        (1709164800123, 1709164800_123_000),
        (0, 0),
        (-1, None),
        (True, None),
        ("1709164800", None),
        (None, None),
        (2**63, None),
        (1e300, None),
        ([], None),
    ],
)
def test_times(timestamp: Any, time_us: int | None) -> None:
    chat = tree(node("a", at=timestamp))
    assert said(chat)[0].created_at == time_us
    assert round_trip(chat)["chat"]["history"]["messages"]["a"]["timestamp"] == timestamp


@pytest.mark.parametrize(
    ("more", "status", "error"),
    [
        ({}, "complete", None),
        ({"done": True}, "complete", None),
        ({"done": False}, "incomplete", None),
        ({"error": {"content": "No"}, "done": True}, "error", "No"),
        ({"error": "No"}, "error", "No"),
        ({"error": True}, "error", "The answer failed."),
        ({"error": False}, "complete", None),
    ],
)
def test_how_an_answer_ended(more: dict[str, Any], status: str, error: str | None) -> None:
    (message,) = said(tree(node("a", role="assistant", **more)))
    assert (message.status, message.error, message.author_id) == (status, error, None)


def test_tokens_are_read_under_both_names_and_never_believed_blindly() -> None:
    def counts(usage: Any) -> tuple[int | None, int | None]:
        (message,) = said(tree(node("a", role="assistant", usage=usage)))
        return message.input_tokens, message.output_tokens

    assert counts({"prompt_tokens": 3, "completion_tokens": 4}) == (3, 4)
    assert counts({"input_tokens": 5, "prompt_tokens": 3}) == (5, None)
    assert counts({"input_tokens": -1, "output_tokens": True}) == (None, None)
    assert counts({"input_tokens": 2**63, "output_tokens": 1.5}) == (None, None)
    assert counts("many") == (None, None)


def test_only_known_models_become_the_messages() -> None:
    nodes = [node("a", role="assistant", model="known"), node("b", role="assistant", model="gpt-4")]
    assert [m.model_id for m in said(tree(*nodes))] == ["known", None]
    chat = {"models": ["first", "second"], **tree(*nodes)}
    assert history.named_models(chat) == {"first", "known", "gpt-4"}
    assert translate.first_model(chat, {"first": ModelId("first")}) == "first"
    assert translate.first_model(chat, {}) is None


def test_the_server_says_who_wrote_what() -> None:
    forged: dict[str, Any] = {"user_id": "somebody", "user": {"id": "somebody", "name": "Else"}}
    chat = tree(node("a", **forged), node("b", "a", role="assistant", **forged))
    messages = round_trip(chat)["chat"]["history"]["messages"]
    assert messages["a"]["user"] == {"id": "me", "name": "Me"}
    assert (messages["a"]["user_id"], messages["b"]["user_id"]) == ("me", "me")
    assert "user" not in messages["b"]


def test_share_mode_is_never_what_a_client_says() -> None:
    assert "share_mode" not in round_trip({"share_mode": "continue"})["chat"]


def test_models_follow_the_chats_model() -> None:
    chat = {"models": ["gone", "second"]}
    assert round_trip(chat, "m")["chat"]["models"] == ["gone", "second"]
    assert round_trip(chat, "m", model_id="n")["chat"]["models"] == ["n", "second"]
    assert round_trip({"models": "odd"}, "m", model_id="n")["chat"]["models"] == ["n"]
    assert "models" not in round_trip({}, "m")["chat"]


def test_a_prompt_that_is_no_text_stays_as_it_is() -> None:
    for params in ({"system": None}, {"system": ["x"]}, {"system": ""}, [1], None):
        assert round_trip({"params": params})["chat"]["params"] == params
    assert round_trip({"params": [1]}, system_prompt="New")["chat"]["params"] == {"system": "New"}


def test_metadata_cannot_pass_for_tags() -> None:
    assert round_trip({}, metadata={"tags": ["x"], "a": 1})["meta"] == {"a": 1}
    assert round_trip({}, metadata={"tags": ["x"]}, tags=("My Work",))["meta"] == {"tags": ["my_work"]}


def test_times_are_whole_seconds() -> None:
    out = round_trip({})
    assert (out["created_at"], out["updated_at"]) == (1_767_268_800, 1_767_268_805)


def test_services_complaints_get_their_place() -> None:
    posted = history.read_messages(tree(node("b", "a", 1), node("a", at=2)), AUTHOR)
    places = {
        "messages.1.content": ("chat", "history", "messages", "b", "content"),
        "title": ("chat", "title"),
        "system_prompt": ("chat", "params", "system"),
        "model_id": ("chat", "models", 0),
        "other": ("other",),
    }
    for field, place in places.items():
        assert translate.located(InvalidField(field, "is bad"), posted).location == place


def test_every_error_has_a_status_and_a_body() -> None:
    def every(kind: type[ChatkeepError]) -> set[type[ChatkeepError]]:
        return {kind}.union(*(every(each) for each in kind.__subclasses__()))

    assert {each.code for each in every(ChatkeepError)} <= set(DEFAULT)
    for method, status in (("GET", 401), ("HEAD", 401), ("DELETE", 404), ("POST", 404)):
        assert errors.write_error(NotFound("Chat"), method).status_code == status
    assert errors.write_error(NotFound("Folder"), "GET").status_code == 404
    told = [errors.write_error(each(), "GET").body for each in (InvalidCredential, UnreadableToken)]
    assert told[0] != told[1]


keys = st.sampled_from([f"m{n}" for n in range(12)])
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | keys,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | keys, inner, max_size=4)
    ),
    max_leaves=8,
)


@st.composite
def forests(draw: st.DrawFn) -> dict[str, Any]:
    """Any tree that a client of the vendor could have: links right, the rest as it likes."""
    count = draw(st.integers(1, 12))
    names = draw(st.permutations([f"m{n}" for n in range(count)]))
    nodes: dict[str, dict[str, Any]] = {}
    for position, name in enumerate(names):
        parent = draw(st.sampled_from([None, *names[:position]]))
        more = draw(
            st.dictionaries(st.sampled_from(["done", "info", "files", "model", "usage"]), junk, max_size=3)
        )
        at = draw(st.integers(0, 4_000_000_000))
        role = draw(st.sampled_from(["user", "assistant", "system"]))
        nodes[name] = {**more, **node(name, parent, at, role=role, childrenIds=[])}
        if parent is not None:
            nodes[parent]["childrenIds"].append(name)
    shuffled = {name: nodes[name] for name in draw(st.permutations(names))}
    return {"history": {"messages": shuffled, "currentId": draw(st.sampled_from(names)), "more": draw(junk)}}


@settings(max_examples=80, deadline=None)
@given(forests())
def test_any_tree_comes_back_as_it_was(chat: dict[str, Any]) -> None:
    out = round_trip(chat)["chat"]["history"]
    for message in out["messages"].values():
        message.pop("user_id")
        message.pop("user", None)
    assert out == chat["history"]
    seen: set[str | None] = {None}
    for message in said(chat):
        assert message.parent_id in seen
        assert message.is_root == (message.parent_id is None)
        seen.add(message.id)


nodes_of_any_kind = st.dictionaries(
    st.sampled_from(
        ["id", "parentId", "childrenIds", "role", "content", "timestamp", "error", "usage", "model"]
    ),
    junk | st.sampled_from(["user", "assistant"]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "title": junk,
            "models": junk,
            "params": junk,
            "messages": junk | st.lists(nodes_of_any_kind, max_size=4),
            "history": junk
            | st.fixed_dictionaries(
                {"messages": junk | st.dictionaries(keys, nodes_of_any_kind, max_size=5)},
                optional={"currentId": junk},
            ),
        },
    )
)
def test_whatever_is_posted_is_stored_or_refused(chat: dict[str, Any]) -> None:
    history.named_models(chat)
    translate.first_model(chat, {})
    try:
        out = round_trip(chat)
    except errors.Unprocessable:
        return
    assert set(chat) <= set(out["chat"]) | {"title"}


def test_a_long_chat_is_read_and_printed_in_one_go() -> None:
    """No recursion, nothing quadratic: ten thousand messages in a line, the order of their times reversed."""
    count = 10_000
    nodes = [node(str(n), str(n - 1) if n else None, count - n) for n in range(count)]
    out = round_trip(tree(*nodes))
    assert list(out["chat"]["history"]["messages"]) == [str(n) for n in range(count)]
