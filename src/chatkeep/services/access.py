"""Who may see and change a chat: the one policy of all dialects.

Owners and admins of the organisation manage every chat; everybody else their own. `organization` chats are read by all
of the organisation, `shared` ones by the people named. What the caller may not see is `NotFound`.
"""

from __future__ import annotations

from chatkeep.domain.chat import ChatAccess
from chatkeep.domain.errors import NotAllowed, NotFound
from chatkeep.domain.ids import ChatId, is_id
from chatkeep.domain.principal import Principal
from chatkeep.services.context import Context
from chatkeep.store import chats
from chatkeep.store.driver import Transaction

NOUN = "Chat"


def check_id(text: str, noun: str = NOUN) -> None:
    """Raise `NotFound` for text that cannot be an id, so that a malformed id and an unknown one look the same."""
    if not is_id(text):
        raise NotFound(noun)


async def readable(tx: Transaction, ctx: Context, chat_id: ChatId) -> ChatAccess:
    """The chat's access columns if the caller may read it."""
    found = await chats.access(tx, chat_id)
    if found is None or found.is_gone(ctx.now_us()) or not await sees(tx, ctx.principal, chat_id, found):
        raise NotFound(NOUN)
    return found


async def changeable(tx: Transaction, ctx: Context, chat_id: ChatId) -> ChatAccess:
    """The chat's access columns if the caller may change it; `NotAllowed` if it may only be read."""
    found = await readable(tx, ctx, chat_id)
    check_change(ctx.principal, found)
    return found


def check_change(principal: Principal, found: ChatAccess) -> None:
    """Raise `NotAllowed` unless the caller manages the chat."""
    if not found.is_managed_by(principal):
        raise NotAllowed("You may read this chat but not change it.")


async def sees(tx: Transaction, principal: Principal, chat_id: ChatId, found: ChatAccess) -> bool:
    """Whether the caller may read a chat with these access columns."""
    if found.is_open_to(principal):
        return True
    return found.visibility == "shared" and await chats.is_shared_with(tx, chat_id, principal.id)
