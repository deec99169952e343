"""The shapes of a chat's documents."""

from __future__ import annotations

from pydantic import Field
from typing_extensions import TypedDict

from chatkeep.dialects.native.wire import Strict


class DocumentIn(Strict):
    """A text document to keep with a chat."""

    filename: str = Field(min_length=1, max_length=200)
    content_type: str = Field("text/plain", min_length=1, max_length=200)
    text: str


class DocumentOut(TypedDict):
    """A document without its text."""

    id: str
    chat_id: str
    filename: str
    content_type: str
    size_bytes: int
    sha256: str
    created_by: str
    created_at: str


class DocumentFull(DocumentOut):
    """A document with its text."""

    text: str


class DocumentList(TypedDict):
    """A chat's documents."""

    items: list[DocumentOut]
