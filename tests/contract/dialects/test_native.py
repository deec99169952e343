"""The dialect contract for native."""

from __future__ import annotations

from tests.contract.dialects.contract import DialectContract, rows
from tests.contract.dialects.speaking import NATIVE

__all__ = ["TestNative", "rows"]


class TestNative(DialectContract):
    """native keeps the contract."""

    speaker = NATIVE
