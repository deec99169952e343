"""Cuadra's routes, one module a noun; `build` puts them together."""

from __future__ import annotations

from chatkeep.dialects.cuadra.manner import MANNER
from chatkeep.dialects.cuadra.routes import chats, completions, models, tokens
from chatkeep.web import dialect
from chatkeep.web.dialect import Built
from chatkeep.web.house import House


def build(house: House) -> Built:
    """The Cuadra application and its hot route."""
    modules = (completions, chats, models, tokens)
    return dialect.build(house, MANNER, [module.router for module in modules], chats.HOT)
