"""The strict decoder: what it takes it reads as the standard library does; the rest is refused with a sentence."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatkeep.domain.errors import InvalidField, MalformedJson
from chatkeep.domain.limits import Limits
from chatkeep.web.json import ON_LOOP_BYTES_MAX, SMALL_BYTES_MAX, decode, decode_async, dumps

quick = settings(deadline=None)  # a busy machine is no failure
LIMITS = Limits()
TIGHT = replace(
    LIMITS, json_depth_max=4, json_nodes_max=30, json_keys_max=5, json_string_bytes_max=40, json_digits_max=25
)

# Text with what is structure outside of strings, and what escapes are made of.
texts = st.one_of(st.text(max_size=20), st.text('{}[],:"\\ue0\n', max_size=20)).filter(
    lambda text: "\x00" not in text
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(texts, inner, max_size=5)),
    max_leaves=40,
)
paddings = st.sampled_from([None, 1, "\t"])


def refusal(raw: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(MalformedJson) as caught:
        decode(raw, limits)
    return str(caught.value)


def measure(value: Any) -> tuple[int, int, int, int]:
    """Depth, values, most keys of an object, longest string in bytes: counted the plain way."""
    if isinstance(value, str):
        return 0, 1, 0, len(value.encode())
    if not isinstance(value, dict | list):
        return 0, 1, 0, 0
    own_keys = list(value) if isinstance(value, dict) else []
    below = [measure(child) for child in (value.values() if isinstance(value, dict) else value)]
    longest = max([len(key.encode()) for key in own_keys] + [each[3] for each in below], default=0)
    most_keys = max([len(own_keys)] + [each[2] for each in below])
    return (
        1 + max([each[0] for each in below], default=0),
        1 + sum(each[1] for each in below),
        most_keys,
        longest,
    )


class TestAgreement:
    @quick
    @given(values, paddings, st.booleans())
    def test_every_value_within_the_limits_is_read_as_it_was_written(
        self, value: Any, padding: int | str | None, escaped: bool
    ) -> None:
        raw = json.dumps(value, indent=padding, ensure_ascii=escaped).encode()
        read = decode(raw, LIMITS)
        assert read == json.loads(raw)
        assert repr(read) == repr(json.loads(raw))  # True is not 1, and 1.0 is not 1

    @quick
    @given(values, paddings)
    def test_limits_are_kept_exactly(self, value: Any, padding: int | str | None) -> None:
        raw = json.dumps(value, indent=padding, ensure_ascii=False).encode()
        depth, nodes, keys, longest = measure(value)
        fits = (
            depth <= TIGHT.json_depth_max
            and nodes <= TIGHT.json_nodes_max
            and keys <= TIGHT.json_keys_max
            and longest <= TIGHT.json_string_bytes_max
        )
        if fits:
            assert decode(raw, TIGHT) == value
        else:
            with pytest.raises(MalformedJson):
                decode(raw, TIGHT)

    @quick
    @given(st.binary(max_size=40))
    def test_any_bytes_are_read_like_the_standard_library_or_refused(self, raw: bytes) -> None:
        try:
            read = decode(raw, LIMITS)
        except (MalformedJson, InvalidField):
            return
        assert read == json.loads(raw)

    @quick
    @given(st.text('{}[],:"\\u0dea1.-e \n', max_size=60))
    def test_near_json_is_read_like_the_standard_library_or_refused(self, text: str) -> None:
        try:
            read = decode(text.encode(), LIMITS)
        except (MalformedJson, InvalidField):
            return
        assert read == json.loads(text)

    @quick
    @given(st.dictionaries(texts, scalars, min_size=1, max_size=6), st.data())
    def test_a_key_given_twice_is_refused_wherever_it_stands(
        self, value: dict[str, Any], data: st.DataObject
    ) -> None:
        key = data.draw(st.sampled_from(list(value)))
        items = [*value.items(), (key, data.draw(scalars))]
        shuffled = data.draw(st.permutations(items))
        members = ",".join(f"{json.dumps(name)}:{json.dumps(child)}" for name, child in shuffled)
        assert "occurs twice" in refusal(f'[1,{{"a":{{{members}}}}}]'.encode())


class TestRefused:
    @pytest.mark.parametrize(
        ("raw", "part"),
        [
            (b"", "not valid JSON"),
            (b"   ", "not valid JSON"),
            (b'{"a":1', "not valid JSON"),
            (b'{"a":1} x', "not valid JSON"),
            (b"{'a':1}", "not valid JSON"),
            (b'{"a":1,}', "not valid JSON"),
            (b'{"a":01}', "not valid JSON"),
            (b'"a\nb"', "not valid JSON"),
            (b"NaN", "not valid JSON"),
            (b"[Infinity]", "not valid JSON"),
            (b'{"a":-Infinity}', "not valid JSON"),
            (b'{"a":1e400}', "infinity"),
            (b'{"a":-1e400}', "infinity"),
            (b"1" * 400, "infinity"),
            (b'"\xff"', "UTF-8"),
            (b'"\xed\xa0\x80"', "UTF-8"),
            (b'"\xc0\x80"', "UTF-8"),
            (b"\xef\xbb\xbf{}", "byte order mark"),
            ('{"a":1}'.encode("utf-16"), "UTF-16"),
            ('{"a":1}'.encode("utf-16-le"), "UTF-16"),
            ('{"a":1}'.encode("utf-16-be"), "UTF-16"),
            ('{"a":1}'.encode("utf-32-be"), "UTF-32"),
            (b'"\\ud800"', "surrogate"),
            (b'{"\\udc00":1}', "surrogate"),
            (b'"\\ud800\\ud800"', "surrogate"),
            (b'{"a":1,"a":2}', 'The key "a" occurs twice'),
            (b'{"a":1,"\\u0061":2}', 'The key "a" occurs twice'),
            (b'[{"x":":"},{"k":{"":0,"":0}}]', 'The key "" occurs twice'),
        ],
    )
    def test_with_its_reason(self, raw: bytes, part: str) -> None:
        assert part in refusal(raw)
        if not raw.startswith(b"1"):
            padded = b'{"pad":"' + b"a:," * SMALL_BYTES_MAX + b'","value":' + raw + b"}"
            assert refusal(padded)

    def test_sentence_says_where(self) -> None:
        assert refusal(b'{"a": nope}').endswith("at line 1 column 7.")

    def test_key_is_shown_in_part_only(self) -> None:
        key = json.dumps("k" * 500).encode()
        assert len(refusal(b"{%b:1,%b:2}" % (key, key))) < 150


class TestLimits:
    def test_depth(self) -> None:
        assert decode(b"[" * 64 + b"]" * 64, LIMITS)
        assert "deeper than 64" in refusal(b"[" * 65 + b"]" * 65)
        assert "deeper than 64" in refusal(b'{"a":' * 65 + b"1" + b"}" * 65)

    @pytest.mark.parametrize("depth", [1_000, 1_100, 15_000, 300_000])
    def test_great_depth_is_a_refusal_too(self, depth: int) -> None:
        assert refusal(b"[" * depth + b"]" * depth)

    def test_values(self) -> None:
        assert decode(b"[" + b",".join([b"{}"] * 19_999) + b"]", LIMITS)
        assert "more than 20000 values" in refusal(b"[" + b",".join([b"{}"] * 20_000) + b"]")
        assert "more than 20000 values" in refusal(b"[" + b",".join([b'""'] * 20_000) + b"]")

    def test_commas_and_brackets_in_texts_are_not_values(self) -> None:
        text = '[{,:"\\' * 10_000
        assert decode(json.dumps({"a": [text]}).encode(), LIMITS) == {"a": [text]}

    def test_values_are_counted_before_they_are_made(self) -> None:
        """Also in a text that is broken further on: memory is what this limit is about."""
        assert "more than 20000 values" in refusal(b"[" + b"{}," * 30_000 + b'"unterminated')

    def test_keys(self) -> None:
        def keys(count: int) -> bytes:
            return dumps([{f"k{number}": 1 for number in range(count)}])

        assert decode(keys(1_000), LIMITS)
        assert "more than 1000 keys" in refusal(keys(1_001))

    def test_string(self) -> None:
        limit = LIMITS.json_string_bytes_max
        assert decode(dumps({"a": "x" * limit, "b": "é" * (limit // 2)}), LIMITS)
        assert "a string of the json" in refusal(dumps({"a": [{"b": "x" * (limit + 1)}]})).lower()
        assert refusal(dumps({"a": [{"b": "é" * (limit // 2 + 1)}]})).endswith("a.0.b.")
        assert refusal(dumps({"x" * (limit + 1): 1})).endswith("body.")

    def test_digits(self) -> None:
        assert decode(b"0." + b"1" * 999, LIMITS) == pytest.approx(1 / 9)
        assert decode(b"[-0." + b"1" * 999 + b"]", LIMITS)
        assert "more than 1000 digits" in refusal(b"0." + b"1" * 1_000)
        assert "more than 1000 digits" in refusal(b'{"a":[1,-0.' + b"0" * 1_500 + b"1e-3]}")
        assert decode(dumps(["7" * 5_000, *range(1_000)]), LIMITS)

    @pytest.mark.parametrize("number", [2**63, 2**64 - 1, -(2**63), 10**18])
    def test_integers_of_64_bits_are_kept(self, number: int) -> None:
        read = decode(b'{"a":%d}' % number, LIMITS)
        assert read == {"a": number}
        assert isinstance(read, dict)
        assert type(read["a"]) is int

    @pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30, -(10**300)])
    def test_longer_integers_are_refused_not_rounded(self, number: int) -> None:
        assert "out of range" in refusal(b"%d" % number)
        assert "out of range" in refusal(b'{"a":[%d]}' % number)
        assert "out of range" in refusal(b'{"pad":"' + b"a:," * SMALL_BYTES_MAX + b'","a":[%d]}' % number)

    @pytest.mark.parametrize(
        "number", ["1e300", "-1e25", "18446744073709551616.0", "1.8446744073709551616e19"]
    )
    def test_large_doubles_are_doubles(self, number: str) -> None:
        digits_in_text = f'{{"a":[{number}],"b":"99999999999999999999999"}}'
        read = decode(digits_in_text.encode(), LIMITS)
        assert isinstance(read, dict)
        assert read["a"] == [float(number)]


class TestNul:
    @pytest.mark.parametrize(
        ("raw", "field"),
        [
            (b'"\\u0000"', "body"),
            (b'{"title":"a\\u0000b"}', "title"),
            (b'{"messages":[{"role":"user"},{"content":"\\u0000"}]}', "messages.1.content"),
            (b'{"a":{"b\\u0000":1}}', "a"),
            (b'{"a":"\\\\\\u0000"}', "a"),
        ],
    )
    def test_in_a_string_or_key_names_the_field(self, raw: bytes, field: str) -> None:
        with pytest.raises(InvalidField) as caught:
            decode(raw, LIMITS)
        assert caught.value.field == field
        assert "NUL" in caught.value.message

    def test_an_escaped_backslash_before_u0000_is_not_nul(self) -> None:
        assert decode(b'{"a":"\\\\u0000"}', LIMITS) == {"a": "\\u0000"}


class TestAsync:
    async def test_small_and_large_bodies_give_the_same(self) -> None:
        small = {"a": "x"}
        large = {"messages": ["x" * 1_000] * 100}
        assert len(dumps(large)) > ON_LOOP_BYTES_MAX
        assert await decode_async(dumps(small), LIMITS) == small
        assert await decode_async(dumps(large), LIMITS) == large
        with pytest.raises(MalformedJson):
            await decode_async(dumps(large)[:-1], LIMITS)


class TestDumps:
    @quick
    @given(values)
    def test_what_is_written_reads_back(self, value: Any) -> None:
        assert decode(dumps(value), LIMITS) == value

    def test_what_json_cannot_say_is_an_error(self) -> None:
        with pytest.raises(TypeError):
            dumps("\ud800")
        assert dumps(math.nan) == b"null"
