"""Identifier types. All are opaque text; chatkeep's own are UUIDv7, clients may bring theirs where a dialect allows."""

from __future__ import annotations

import re
from typing import NewType, Protocol

OrganisationId = NewType("OrganisationId", str)
PrincipalId = NewType("PrincipalId", str)
CredentialId = NewType("CredentialId", str)
ModelId = NewType("ModelId", str)
AgentId = NewType("AgentId", str)
ChatId = NewType("ChatId", str)
MessageId = NewType("MessageId", str)
RunId = NewType("RunId", str)
FolderId = NewType("FolderId", str)
ShareId = NewType("ShareId", str)
DocumentId = NewType("DocumentId", str)

ID_CHARACTERS_MAX = 128
_ID = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}\Z")
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z")


def is_id(text: str) -> bool:
    """Whether `text` can be an id at all: 1 to 128 printable ASCII characters without blanks."""
    return _ID.match(text) is not None


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in its usual 36-character form."""
    return _UUID.match(text) is not None


class Clock(Protocol):
    """Where time comes from, so that tests can turn it."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        ...


class Entropy(Protocol):
    """Where ids and secrets come from, so that tests can repeat them."""

    def uuid7(self) -> str:
        """A new time-ordered UUID, 36 characters."""
        ...

    def secret(self, characters: int) -> str:
        """That many base62 characters from a cryptographic source."""
        ...
