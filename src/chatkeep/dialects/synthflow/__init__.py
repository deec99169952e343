"""Synthflow's chat API, `/synthflow/v2/…` and `/v2/…`: sessions with one-prompt agents, the answer in one piece."""

from chatkeep.dialects.synthflow.routes import build

__all__ = ["build"]
