"""Hangs new messages into a chat's tree and moves its head and counters, inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence

from chatkeep.domain.errors import AlreadyExists, Conflict, InvalidField
from chatkeep.domain.ids import ChatId, MessageId, RunId, is_id
from chatkeep.domain.limits import Limits
from chatkeep.domain.message import SPEAKING_ROLES, Message, NewMessage
from chatkeep.domain.text import check_text, title_from
from chatkeep.services.context import Context, System
from chatkeep.store import chats, messages
from chatkeep.store.chats import Appending
from chatkeep.store.driver import Transaction
from chatkeep.store.rows import json_bytes


async def append_to(
    tx: Transaction,
    system: System,
    state: Appending,
    said: Sequence[NewMessage],
    *,
    head: MessageId | None = None,
    run_id: RunId | None = None,
) -> list[Message]:
    """Write `said` in order; `head`, or else the last one, becomes the chat's current message.

    Costs the same at 10 and at 100,000 messages. Raises `InvalidField` for a parent or head the chat does not have and
    `AlreadyExists` for an id it has.
    """
    chat_id, now = state.chat_id, system.clock.now_us()
    written = []
    for new in said:
        message = await _placed(tx, system, state, new, now)
        try:
            await messages.insert(tx, message, is_id_new=new.id is None)
        except Conflict:
            raise AlreadyExists("The chat has a message with this id already.") from None
        written.append(message)
        state.last_seq = message.seq
        state.current_message_id = message.id
        state.message_count = message.turn_number
        if state.title is None and message.role == "user":
            state.title = title_from(message.content)
    if head is not None and head != state.current_message_id:
        state.message_count = await _turn(tx, chat_id, head, field="current_message_id")
        state.current_message_id = head
        state.is_branched = True
    state.updated_at = max(now, state.updated_at)
    await chats.appended(tx, state, written, run_id=run_id)
    return written


async def _placed(tx: Transaction, system: System, state: Appending, new: NewMessage, now: int) -> Message:
    chat_id = state.chat_id
    parent_id = None if new.is_root else new.parent_id or state.current_message_id
    turn_before = state.message_count
    if parent_id != state.current_message_id:
        state.is_branched = True
        turn_before = await _turn(tx, chat_id, parent_id)
    return Message(
        chat_id=chat_id,
        id=new.id or MessageId(system.entropy.uuid7()),
        seq=state.last_seq + 1,
        parent_id=parent_id,
        role=new.role,
        content=new.content,
        turn_number=turn_before + (new.role in SPEAKING_ROLES),
        created_at=new.created_at if new.created_at is not None else now,
        status=new.status,
        error=new.error,
        author_id=new.author_id,
        agent_id=new.agent_id,
        state_id=new.state_id,
        model_id=new.model_id,
        input_tokens=new.input_tokens,
        output_tokens=new.output_tokens,
        cost=new.cost,
        response_time_ms=new.response_time_ms,
        tool_call_id=new.tool_call_id,
        tool_calls=new.tool_calls,
        media_type=new.media_type,
        media_url=new.media_url,
        metadata=new.metadata,
        extra=new.extra,
    )


async def _turn(
    tx: Transaction, chat_id: ChatId, message_id: MessageId | None, *, field: str = "parent_id"
) -> int:
    if message_id is None:
        return 0
    turn = await messages.turn_number(tx, chat_id, message_id)
    if turn is None:
        raise InvalidField(field, "no such message in this chat")
    return turn


def check_said(ctx: Context, said: Sequence[NewMessage]) -> None:
    """Raise `InvalidField` for what a client may not say. What a model said is kept as it is."""
    for position, new in enumerate(said):
        _check(ctx.system.limits, new, position)


def _check(limits: Limits, new: NewMessage, position: int) -> None:
    check_text(f"messages.{position}.content", new.content, bytes_max=limits.message_bytes_max)
    for name in ("id", "parent_id"):
        value = getattr(new, name)
        if value is not None and not is_id(value):
            raise InvalidField(f"messages.{position}.{name}", "must be 1 to 128 printable ASCII characters")
    if new.role == "tool" and not new.tool_call_id:
        raise InvalidField(f"messages.{position}.tool_call_id", "a tool message names the call it answers")
    if new.metadata and json_bytes(new.metadata) > limits.metadata_bytes_max:
        raise InvalidField(
            f"messages.{position}.metadata", f"at most {limits.metadata_bytes_max} bytes as JSON"
        )
