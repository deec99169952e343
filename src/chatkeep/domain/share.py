"""Shares: a chat as it was at one moment, under an id of its own."""

from __future__ import annotations

from dataclasses import dataclass

from chatkeep.domain.ids import ChatId, ShareId
from chatkeep.domain.json import JsonObject


@dataclass(frozen=True, slots=True)
class Share:
    """A frozen copy of a chat's title and messages; later changes do not show. Times in microseconds UTC."""

    id: ShareId
    chat_id: ChatId
    snapshot: JsonObject
    created_at: int
    updated_at: int
