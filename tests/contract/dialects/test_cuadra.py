"""The dialect contract for cuadra."""

from __future__ import annotations

from tests.contract.dialects.contract import DialectContract, rows
from tests.contract.dialects.speaking import CUADRA

__all__ = ["TestCuadra", "rows"]


class TestCuadra(DialectContract):
    """cuadra keeps the contract."""

    speaker = CUADRA
