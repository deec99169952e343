"""chatkeep's own API, `/chatkeep/v1`: everything a chat has, in snake_case, errors as RFC 9457 problems."""

from chatkeep.dialects.native.routes import build

__all__ = ["build"]
