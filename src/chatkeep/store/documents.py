"""Rows of documents as domain values."""

from __future__ import annotations

from chatkeep.domain.document import Document
from chatkeep.domain.ids import ChatId, DocumentId
from chatkeep.store import chats
from chatkeep.store.driver import Row, Transaction


async def insert(tx: Transaction, document: Document, content: str) -> None:
    """Write a document and count it in its chat."""
    await tx.run(
        "document_insert",
        chat_id=document.chat_id,
        id=document.id,
        filename=document.filename,
        content_type=document.content_type,
        size_bytes=document.size_bytes,
        sha256=document.sha256,
        content=content,
        created_by=document.created_by,
        created_at=document.created_at,
    )
    await chats.counted_document(tx, document.chat_id, 1, now=document.created_at)


async def of_chat(tx: Transaction, chat_id: ChatId) -> list[Document]:
    """The chat's documents, oldest first."""
    return [_document(row) for row in await tx.all("documents_of", chat_id=chat_id)]


async def get(tx: Transaction, chat_id: ChatId, document_id: DocumentId) -> tuple[Document, str] | None:
    """One document and its text."""
    row = await tx.one("document_get", chat_id=chat_id, id=document_id)
    return None if row is None else (_document(row[:-1]), row[-1])


async def delete(tx: Transaction, chat_id: ChatId, document_id: DocumentId, *, now: int) -> bool:
    """Remove a document and count it off; whether there was one."""
    if not await tx.run("document_delete", chat_id=chat_id, id=document_id):
        return False
    await chats.counted_document(tx, chat_id, -1, now=now)
    return True


def _document(row: Row) -> Document:
    return Document(*row)
