"""Rows of folders as domain values."""

from __future__ import annotations

from chatkeep.domain.folder import Folder
from chatkeep.domain.ids import FolderId, PrincipalId
from chatkeep.store import chats
from chatkeep.store.driver import Transaction


async def insert(tx: Transaction, folder: Folder) -> None:
    """Write a new folder. Raises `Conflict` when its owner has one of that name."""
    await tx.run(
        "folder_insert",
        id=folder.id,
        owner_id=folder.owner_id,
        name=folder.name,
        created_at=folder.created_at,
    )


async def get(tx: Transaction, folder_id: FolderId) -> Folder | None:
    """One folder, whoever owns it."""
    row = await tx.one("folder_get", id=folder_id)
    return None if row is None else Folder(*row)


async def of_owner(tx: Transaction, owner_id: PrincipalId) -> list[Folder]:
    """One person's folders by name."""
    return [Folder(*row) for row in await tx.all("folders_of", owner_id=owner_id)]


async def rename(tx: Transaction, folder_id: FolderId, name: str, *, now: int) -> None:
    """Give another name. Raises `Conflict` when the owner has one of that name."""
    await tx.run("folder_rename", id=folder_id, name=name, updated_at=now)


async def delete(tx: Transaction, folder_id: FolderId, *, now: int) -> None:
    """Remove the folder; its chats stay, outside of any folder."""
    await chats.empty_folder(tx, folder_id, now=now)
    await tx.run("folder_delete", id=folder_id)
