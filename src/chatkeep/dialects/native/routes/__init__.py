"""The native dialect's routes, one module a noun; `build` puts them together."""

from __future__ import annotations

from chatkeep.dialects.native.manner import MANNER
from chatkeep.dialects.native.routes import (
    chats,
    documents,
    events,
    folders,
    generate,
    me,
    messages,
    models,
    shares,
    socket,
)
from chatkeep.web import dialect
from chatkeep.web.dialect import Built
from chatkeep.web.house import House


def build(house: House) -> Built:
    """The native application and its hot routes."""
    modules = (me, models, chats, messages, generate, events, socket, folders, documents, shares)
    return dialect.build(house, MANNER, [module.router for module in modules], [*chats.HOT, *messages.HOT])
