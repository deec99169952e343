"""The frames a client sends over a chat's WebSocket. `ref` comes back with the answer to the frame."""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import Field

from chatkeep.dialects.native.wire import Id, Strict
from chatkeep.dialects.native.wire_runs import GenerateIn


class SendFrame(GenerateIn):
    """Say something and have it answered, as `POST /chats/{chat_id}/generate` does; `stream` means nothing here."""

    type: Literal["send"]
    ref: str | int | None = None


class StopFrame(Strict):
    """Stop what is being generated."""

    type: Literal["stop"]
    ref: str | int | None = None
    run_id: Id | None = Field(None, description="One run; all of the chat when absent.")


AnyFrame = TypeVar("AnyFrame", SendFrame, StopFrame)
