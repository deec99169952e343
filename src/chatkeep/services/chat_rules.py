"""What the fields of a chat may hold: the rules that creating and changing one share.

Called by `services.chats`. Each raises `InvalidField` with the field's name; what asks the store takes the transaction.
"""

from __future__ import annotations

from chatkeep.domain.chat import Unset
from chatkeep.domain.errors import InvalidField
from chatkeep.domain.ids import FolderId, ModelId, PrincipalId, is_id
from chatkeep.domain.json import JsonObject
from chatkeep.domain.text import check_text, tag_id
from chatkeep.services import models as model_verbs
from chatkeep.services.context import Context
from chatkeep.store import folders, models, principals
from chatkeep.store.driver import Transaction
from chatkeep.store.rows import json_bytes


def is_segment(text: str) -> bool:
    """Whether an id can stand in a URL's path: one with a slash, or dots alone, would never be found again."""
    return is_id(text) and "/" not in text and text not in (".", "..")


async def model(tx: Transaction, ctx: Context, model_id: ModelId | None) -> ModelId | None:
    """The model named, or else the one that answers where none is named; None when none can."""
    if model_id is None:
        model = await model_verbs.default(tx, ctx.system)
        return None if model is None else model.id
    if not is_id(model_id) or await models.get(tx, model_id) is None:
        raise InvalidField("model_id", "no such model")
    return model_id


async def check_folder(tx: Transaction, folder_id: FolderId, owner_id: PrincipalId | None) -> None:
    """Raise unless it is a folder of the chat's owner."""
    folder = await folders.get(tx, folder_id) if is_id(folder_id) else None
    if folder is None or folder.owner_id != owner_id:
        raise InvalidField("folder_id", "no such folder")


async def people(tx: Transaction, ctx: Context, named: tuple[PrincipalId, ...]) -> tuple[PrincipalId, ...]:
    """The people named, each once, all of this organisation."""
    unique = tuple(dict.fromkeys(named))
    if len(unique) > ctx.system.limits.shared_with_max:
        raise InvalidField("shared_with", f"at most {ctx.system.limits.shared_with_max} people")
    for principal_id in unique:
        if not is_id(principal_id) or await principals.get(tx, principal_id) is None:
            raise InvalidField("shared_with", "no such person in this organisation")
    return unique


def tags(ctx: Context, names: tuple[str, ...]) -> tuple[str, ...]:
    """The tags as they are shown, each id once."""
    if len(names) > ctx.system.limits.tags_max:
        raise InvalidField("tags", f"at most {ctx.system.limits.tags_max} tags")
    unique: dict[str, str] = {}
    for name in names:
        check_text("tags", name, characters_max=ctx.system.limits.name_characters_max)
        if not name.strip() or tag_id(name) == "none":
            raise InvalidField("tags", "a tag needs a name other than 'none'")
        unique.setdefault(tag_id(name), name.strip())
    return tuple(unique.values())


def check_texts(
    ctx: Context, title: str | None | Unset, prompt: str | None | Unset, metadata: JsonObject | None | Unset
) -> None:
    """Raise for a text or metadata over its limit."""
    limits = ctx.system.limits
    if isinstance(title, str):
        check_text("title", title, characters_max=limits.title_characters_max)
    if isinstance(prompt, str):
        check_text("system_prompt", prompt, bytes_max=limits.system_prompt_bytes_max)
    if isinstance(metadata, dict) and json_bytes(metadata) > limits.metadata_bytes_max:
        raise InvalidField("metadata", f"must have at most {limits.metadata_bytes_max} bytes as JSON")
