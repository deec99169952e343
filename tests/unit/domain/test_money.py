"""Money as decimal text: exact, plain, and nothing that is no amount."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkeep.domain.money import cost_of, is_price, price_from, reported_cost
from chatkeep.domain.usage import Usage

PRICES = st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,12})?", fullmatch=True).filter(str.isascii)
TOKENS = st.integers(0, 2**53)


@pytest.mark.parametrize(
    ("per_token", "price"),
    [
        ("0.00000015", "0.15"),
        ("0.000003", "3"),
        ("1.5e-7", "0.15"),
        ("0", "0"),
        ("0.00000029900000000000004", "0.299"),
        ("0.0000000000000000014", "0.000000000001"),
        ("999.999999", "999999999"),
        ("1000", None),
        ("-1", None),
        ("-0.0000001", None),
        ("", None),
        ("free", None),
        ("NaN", None),
        ("sNaN", None),
        ("Infinity", None),
        ("1e999999", None),
        ("1e999999999999999999999", None),
    ],
)
def test_a_listed_price_of_one_token_is_one_of_a_million(per_token: str, price: str | None) -> None:
    assert price_from(per_token) == price


@given(TOKENS, PRICES, TOKENS, PRICES)
def test_a_cost_is_exact_and_plain(read: int, input_price: str, written: int, output_price: str) -> None:
    cost = cost_of((read, input_price), (written, output_price))
    exact = read * Fraction(input_price) + written * Fraction(output_price)
    assert Fraction(cost) == exact / 1_000_000
    whole, _, places = cost.partition(".")
    assert (whole + places).isascii()
    assert (whole + places).isdigit()
    assert not places.endswith("0")
    assert str(int(whole)) == whole
    assert cost[-1] != "."


@given(st.text() | st.floats().map(str))
def test_a_listed_price_is_one_that_could_be_given(text: str) -> None:
    price = price_from(text)
    assert price is None or is_price(price)


@given(st.floats(0, 999_999))
def test_a_reported_cost_is_the_providers_number(amount: float) -> None:
    told = reported_cost(amount)
    assert told is not None
    assert "e" not in told.lower()
    assert abs(Fraction(told) - Fraction(repr(amount))) <= Fraction(1, 2 * 10**18)


def test_the_providers_word_goes_before_the_prices() -> None:
    assert Usage(7, 5, "0.5").priced("1", "1") == Usage(7, 5, "0.5")
    assert Usage(7, 5, "0").priced("1", "1") == Usage(7, 5, "0")
    assert Usage(7, 5).priced("1", "2") == Usage(7, 5, "0.000017")
    assert Usage(7, 5).priced("1", None) == Usage(7, 5).priced(None, "1") == Usage(7, 5)
    assert Usage(0, 0).priced("1", "1").cost == "0"
