"""The dialect contract for native."""

from __future__ import annotations

from tests.contract.dialects.contract import DialectContract, ledger
from tests.contract.dialects.speaking import NATIVE

__all__ = ["TestNative", "ledger"]


class TestNative(DialectContract):
    """native keeps the contract."""

    speaker = NATIVE
