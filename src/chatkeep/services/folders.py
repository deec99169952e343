"""Folders of the calling person: create, list, rename, delete."""

from __future__ import annotations

from chatkeep.domain.errors import AlreadyExists, Conflict, InvalidField, NotFound
from chatkeep.domain.folder import Folder
from chatkeep.domain.ids import FolderId
from chatkeep.domain.text import check_text
from chatkeep.services import access
from chatkeep.services.context import Context
from chatkeep.store import folders
from chatkeep.store.driver import Transaction

NOUN = "Folder"


async def create(ctx: Context, name: str) -> Folder:
    """Make a folder. Raises `AlreadyExists` when the caller has one of that name."""
    ctx.principal.require("chat:write")
    _check_name(ctx, name)
    now = ctx.now_us()
    folder = Folder(FolderId(ctx.system.entropy.uuid7()), ctx.principal.id, name, now, now)

    async def body(tx: Transaction) -> Folder:
        try:
            await folders.insert(tx, folder)
        except Conflict:
            raise AlreadyExists("A folder of this name exists already.") from None
        return folder

    return await ctx.write(body)


async def list_folders(ctx: Context) -> list[Folder]:
    """The caller's folders by name."""
    ctx.principal.require("chat:read")

    async def body(tx: Transaction) -> list[Folder]:
        return await folders.of_owner(tx, ctx.principal.id)

    return await ctx.read(body)


async def rename(ctx: Context, folder_id: FolderId, name: str) -> Folder:
    """Give another name. Raises `NotFound`, `AlreadyExists`."""
    ctx.principal.require("chat:write")
    access.check_id(folder_id, NOUN)
    _check_name(ctx, name)

    async def body(tx: Transaction) -> Folder:
        await _own(tx, ctx, folder_id)
        try:
            await folders.rename(tx, folder_id, name, now=ctx.now_us())
        except Conflict:
            raise AlreadyExists("A folder of this name exists already.") from None
        return await _own(tx, ctx, folder_id)

    return await ctx.write(body)


async def delete(ctx: Context, folder_id: FolderId) -> None:
    """Remove the folder; its chats stay, outside of any folder. Raises `NotFound`."""
    ctx.principal.require("chat:write")
    access.check_id(folder_id, NOUN)

    async def body(tx: Transaction) -> None:
        await _own(tx, ctx, folder_id)
        await folders.delete(tx, folder_id, now=ctx.now_us())

    await ctx.write(body)


async def _own(tx: Transaction, ctx: Context, folder_id: FolderId) -> Folder:
    folder = await folders.get(tx, folder_id)
    if folder is None or folder.owner_id != ctx.principal.id:
        raise NotFound(NOUN)
    return folder


def _check_name(ctx: Context, name: str) -> None:
    check_text("name", name, characters_max=ctx.system.limits.name_characters_max)
    if not name.strip():
        raise InvalidField("name", "must not be empty")
