"""The dialect contract for lexicon."""

from __future__ import annotations

from tests.contract.dialects.contract import DialectContract, rows
from tests.contract.dialects.speaking import LEXICON

__all__ = ["TestLexicon", "rows"]


class TestLexicon(DialectContract):
    """lexicon keeps the contract."""

    speaker = LEXICON
