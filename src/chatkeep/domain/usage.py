"""What one model call used."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chatkeep.domain.money import cost_of


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call as its provider counted them, and its cost: decimal text, None where nobody knows."""

    input_tokens: int
    output_tokens: int
    cost: str | None = None

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def priced(self, input_price: str | None, output_price: str | None) -> Usage:
        """With its cost at these prices for a million tokens, unless the provider told it or a price is not known."""
        if self.cost is not None or input_price is None or output_price is None:
            return self
        cost = cost_of((self.input_tokens, input_price), (self.output_tokens, output_price))
        return replace(self, cost=cost)
