"""The dialect contract for synthflow."""

from __future__ import annotations

from tests.contract.dialects.contract import DialectContract, rows
from tests.contract.dialects.speaking import SYNTHFLOW

__all__ = ["TestSynthflow", "rows"]


class TestSynthflow(DialectContract):
    """synthflow keeps the contract."""

    speaker = SYNTHFLOW
    malformed = ()  # what is no UUID is 400 (contracts/synthflow.md D6.2), whatever there is
