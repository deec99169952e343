"""Money as decimal text: plain digits, nothing lost to a float. Its currency is the operator's own, and never written.

Prices are for a million tokens. A cost has up to 18 digits after the point, as many as a price of 12 needs for one
token; the same scale sheds the noise of those who reckon in floats.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation, localcontext

PRICE_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,12})?$"
PRICE_RULE = "must be decimal text like 0.15, with up to 9 digits before the point and 12 after it"
_PRICE_PLACES = 12
_COST_PLACES = 18
_MILLION_PLACES = 6
_LIMIT = 10**9
_DIGITS = 60
"""More than any product or sum in here can have."""


def is_price(text: str) -> bool:
    """Whether `text` is a price: finite, not negative, plain digits."""
    return re.fullmatch(PRICE_PATTERN, text) is not None


def price_from(per_token: str) -> str | None:
    """The price for a million tokens from what a provider's list says of one; None where that is none."""
    with localcontext(prec=_DIGITS):
        try:
            amount = Decimal(per_token)
        except InvalidOperation:
            return None
        if not amount.is_finite() or not 0 <= amount < _LIMIT:
            return None
        price = _plain(amount.scaleb(_MILLION_PLACES), _PRICE_PLACES)
        return price if is_price(price) else None


def reported_cost(amount: object) -> str | None:
    """What a provider says a call cost, a JSON number; None for anything that cannot be that."""
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < _LIMIT:
        return None
    with localcontext(prec=_DIGITS):
        return _plain(Decimal(repr(amount)), _COST_PLACES)


def cost_of(*parts: tuple[int, str]) -> str:
    """What so many tokens at such a price cost, summed, exactly."""
    with localcontext(prec=_DIGITS):
        total = sum((tokens * Decimal(price) for tokens, price in parts), Decimal())
        return _plain(total.scaleb(-_MILLION_PLACES), _COST_PLACES)


def _plain(amount: Decimal, places: int) -> str:
    rounded = amount.quantize(Decimal((0, (1,), -places)))
    return format(abs(rounded).normalize(), "f")
