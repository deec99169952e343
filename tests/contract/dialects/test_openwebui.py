"""The dialect contract for openwebui."""

from __future__ import annotations

from tests.contract.dialects.contract import DialectContract, rows
from tests.contract.dialects.speaking import OPENWEBUI

__all__ = ["TestOpenWebui", "rows"]


class TestOpenWebui(DialectContract):
    """openwebui keeps the contract."""

    speaker = OPENWEBUI
