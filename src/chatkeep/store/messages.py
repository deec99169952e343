"""Rows of messages as domain values. Called by services inside a transaction.

An answer that is being generated reads with all that has been said so far: its pieces are in the journal until it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chatkeep.domain.ids import ChatId, MessageId
from chatkeep.domain.json import JsonValue
from chatkeep.domain.message import Message
from chatkeep.store.driver import Row, Transaction, Value
from chatkeep.store.rows import read_json, write_json


async def insert(tx: Transaction, message: Message, *, is_id_new: bool = False) -> None:
    """Write one message. Raises `Conflict` when the chat has its id already, unless that is sure to be new."""
    row: dict[str, Value] = {
        "chat_id": message.chat_id,
        "seq": message.seq,
        "id": message.id,
        "parent_id": message.parent_id,
        "role": message.role,
        "content": message.content,
        "turn_number": message.turn_number,
        "created_at": message.created_at,
        "status": message.status,
        "error": message.error,
        "author_id": message.author_id,
        "agent_id": message.agent_id,
        "state_id": message.state_id,
        "model_id": message.model_id,
        "input_tokens": message.input_tokens,
        "output_tokens": message.output_tokens,
        "cost": message.cost,
        "response_time_ms": message.response_time_ms,
        "tool_call_id": message.tool_call_id,
        "tool_calls": write_json(message.tool_calls),
        "media_type": message.media_type,
        "media_url": message.media_url,
        "sources": write_json(message.sources),
        "metadata": write_json(message.metadata),
        "extra": write_json(message.extra or None),
    }
    if is_id_new:
        await tx.put("message_insert", [row])
    else:
        await tx.run("message_insert", **row)


async def get(tx: Transaction, chat_id: ChatId, message_id: MessageId) -> Message | None:
    """One message of the chat."""
    row = await tx.one("message_get", chat_id=chat_id, id=message_id)
    return None if row is None else (await _grown(tx, [_message(row)]))[0]


async def turn_number(tx: Transaction, chat_id: ChatId, message_id: MessageId) -> int | None:
    """The turn number of one message, or None where the chat has no such message."""
    row = await tx.one("message_turn", chat_id=chat_id, id=message_id)
    return None if row is None else int(row[0])


async def of_chat(tx: Transaction, chat_id: ChatId) -> list[Message]:
    """All messages of the chat in the order they were written."""
    return await _grown(tx, [_message(row) for row in await tx.all("messages_all", chat_id=chat_id)])


async def after(tx: Transaction, chat_id: ChatId, seq: int, limit: int) -> list[Message]:
    """Up to `limit` messages after `seq`, oldest first."""
    rows = await tx.all("messages_after", chat_id=chat_id, seq=seq, row_limit=limit)
    return await _grown(tx, [_message(row) for row in rows])


async def before(tx: Transaction, chat_id: ChatId, seq: int, limit: int) -> list[Message]:
    """Up to `limit` messages before `seq`, newest first."""
    rows = await tx.all("messages_before", chat_id=chat_id, seq=seq, row_limit=limit)
    return await _grown(tx, [_message(row) for row in rows])


async def speaking(
    tx: Transaction, chat_id: ChatId, *, newest_first: bool, offset: int, limit: int
) -> list[Message]:
    """User and assistant messages of an unbranched chat by offset."""
    name = "messages_speaking_backward" if newest_first else "messages_speaking_forward"
    rows = await tx.all(name, chat_id=chat_id, row_offset=offset, row_limit=limit)
    return await _grown(tx, [_message(row) for row in rows])


async def by_seq(tx: Transaction, chat_id: ChatId, seqs: Sequence[int]) -> dict[int, Message]:
    """Messages by their place in the chat, as stored: without what an unfinished answer has said so far."""
    rows = await tx.all("messages_by_seq", chat_id=chat_id, seqs=write_json(seqs))
    return {message.seq: message for message in map(_message, rows)}


async def answer(tx: Transaction, message: Message) -> None:
    """Write what an answer is in the end, or that it grows again."""
    await tx.run(
        "message_answer",
        chat_id=message.chat_id,
        id=message.id,
        content=message.content,
        status=message.status,
        error=message.error,
        model_id=message.model_id,
        input_tokens=message.input_tokens,
        output_tokens=message.output_tokens,
        cost=message.cost,
        response_time_ms=message.response_time_ms,
        tool_calls=write_json(message.tool_calls),
        sources=write_json(message.sources),
    )


async def add_sources(tx: Transaction, message: Message, sources: list[JsonValue]) -> None:
    """Write what pages an answer that goes on growing has named."""
    named = write_json([*(message.sources or ()), *sources])
    await tx.run("message_sources", chat_id=message.chat_id, id=message.id, sources=named)


async def _grown(tx: Transaction, found: list[Message]) -> list[Message]:
    for position, message in enumerate(found):
        if message.status == "generating":
            rows = await tx.all("answer_text", chat_id=message.chat_id, answer_id=message.id)
            found[position] = replace(message, content=message.content + "".join(row[0] for row in rows))
    return found


def _message(row: Row) -> Message:
    *plain, tool_calls, media_type, media_url, sources, metadata, extra = row
    decoded = (read_json(sources), read_json(metadata), read_json(extra) or {})
    return Message(*(*plain, read_json(tool_calls), media_type, media_url, *decoded))
