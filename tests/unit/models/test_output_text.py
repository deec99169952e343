"""Whatever a model says can be stored, and a character split between two chunks comes out whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatkeep.models.output_text import OutputText, clean

# Many halves of characters, in and out of order, among anything else.
PIECES = st.lists(
    st.text(
        st.one_of(
            st.sampled_from("\ud83d\ude00\udbff\udfff\ud800\udc00\x00a"),
            st.characters(codec=None, categories=None),
        ),
        max_size=4,
    ),
    max_size=6,
)


def said(pieces: list[str]) -> str:
    channel = OutputText()
    return "".join(map(channel.feed, pieces)) + channel.flush()


@given(PIECES)
def test_any_output_can_be_stored_and_no_split_changes_it(pieces: list[str]) -> None:
    text = said(pieces)
    assert "\0" not in text
    text.encode()  # no lone surrogates
    assert text == clean("".join(pieces))


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_clean_text_is_left_alone(text: str) -> None:
    assert clean(text) == text


def test_a_character_in_two_halves_is_joined() -> None:
    assert said(["a\ud83d", "\ude00b"]) == "a😀b"
    assert said(["\ud83d", "", "\ude00"]) == "😀"


def test_halves_without_their_other_half_are_replaced() -> None:
    assert said(["\ud83d", "x"]) == "\ufffdx"
    assert said(["x\ude00y"]) == "x\ufffdy"
    assert said(["\ud83d", "\ud83d", "\ude00"]) == "\ufffd😀"
    assert said(["end\ud83d"]) == "end\ufffd"


def test_nul_is_replaced() -> None:
    assert said(["a\0b", "\0"]) == "a\ufffdb\ufffd"


def test_only_the_undecided_half_is_held_back() -> None:
    channel = OutputText()
    assert channel.feed("sure\ud83d") == "sure"
    assert channel.flush() == "\ufffd"
    assert channel.flush() == ""
