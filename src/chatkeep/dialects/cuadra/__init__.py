"""Cuadra AI's API, `/cuadra` and the root's `/v1/…`: chats whole in one answer, camelCase, RFC 7807 problems."""

from chatkeep.dialects.cuadra.routes import build

__all__ = ["build"]
