"""Documents kept with a chat."""

from __future__ import annotations

from dataclasses import dataclass

from chatkeep.domain.ids import ChatId, DocumentId, PrincipalId


@dataclass(frozen=True, slots=True)
class Document:
    """A text document kept with a chat. `size_bytes` counts UTF-8; `sha256` is of those bytes, in hexadecimal."""

    id: DocumentId
    chat_id: ChatId
    filename: str
    content_type: str
    size_bytes: int
    sha256: str
    created_by: PrincipalId
    created_at: int
