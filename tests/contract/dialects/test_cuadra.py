"""The dialect contract for cuadra."""

from __future__ import annotations

from tests.contract.dialects.contract import DialectContract, ledger
from tests.contract.dialects.speaking import CUADRA

__all__ = ["TestCuadra", "ledger"]


class TestCuadra(DialectContract):
    """cuadra keeps the contract."""

    speaker = CUADRA
