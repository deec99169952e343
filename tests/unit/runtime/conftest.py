"""The runner is tested with real runs of the shared server; see `tests.flows.office`."""

from tests.flows.conftest import office, shared_world

__all__ = ["office", "shared_world"]
