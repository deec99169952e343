"""Folders of one person."""

from __future__ import annotations

from dataclasses import dataclass

from chatkeep.domain.ids import FolderId, PrincipalId


@dataclass(frozen=True, slots=True)
class Folder:
    """A named folder, unique by name for its owner. Times in microseconds UTC."""

    id: FolderId
    owner_id: PrincipalId
    name: str
    created_at: int
    updated_at: int
