"""Text documents of a chat: attach, list, get, remove. Their texts are given to the model with every question."""

from __future__ import annotations

import hashlib

from chatkeep.domain.document import Document
from chatkeep.domain.errors import InvalidField, NotFound
from chatkeep.domain.ids import ChatId, DocumentId
from chatkeep.domain.text import check_text
from chatkeep.services import access
from chatkeep.services.context import Context
from chatkeep.store import documents
from chatkeep.store.driver import Transaction

NOUN = "Document"


async def attach(ctx: Context, chat_id: ChatId, filename: str, content_type: str, text: str) -> Document:
    """Keep a text with the chat. Raises `NotFound`, `NotAllowed`, `InvalidField`."""
    ctx.principal.require("chat:write")
    access.check_id(chat_id)
    limits = ctx.system.limits
    check_text("filename", filename, characters_max=limits.name_characters_max)
    check_text("content_type", content_type, characters_max=limits.name_characters_max)
    check_text("text", text, bytes_max=limits.json_string_bytes_max)
    raw = text.encode()
    document = Document(
        id=DocumentId(ctx.system.entropy.uuid7()),
        chat_id=chat_id,
        filename=filename,
        content_type=content_type,
        size_bytes=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        created_by=ctx.principal.id,
        created_at=ctx.now_us(),
    )

    async def body(tx: Transaction) -> Document:
        await access.changeable(tx, ctx, chat_id)
        if len(await documents.of_chat(tx, chat_id)) >= limits.documents_per_chat_max:
            raise InvalidField("text", f"a chat keeps at most {limits.documents_per_chat_max} documents")
        await documents.insert(tx, document, text)
        return document

    return await ctx.write(body, about=chat_id)


async def list_documents(ctx: Context, chat_id: ChatId) -> list[Document]:
    """The chat's documents, oldest first. Raises `NotFound`."""
    ctx.principal.require("chat:read")
    access.check_id(chat_id)

    async def body(tx: Transaction) -> list[Document]:
        await access.readable(tx, ctx, chat_id)
        return await documents.of_chat(tx, chat_id)

    return await ctx.read(body)


async def get(ctx: Context, chat_id: ChatId, document_id: DocumentId) -> tuple[Document, str]:
    """One document and its text. Raises `NotFound`."""
    ctx.principal.require("chat:read")
    access.check_id(chat_id)

    async def body(tx: Transaction) -> tuple[Document, str]:
        await access.readable(tx, ctx, chat_id)
        access.check_id(document_id, NOUN)
        found = await documents.get(tx, chat_id, document_id)
        if found is None:
            raise NotFound(NOUN)
        return found

    return await ctx.read(body)


async def remove(ctx: Context, chat_id: ChatId, document_id: DocumentId) -> None:
    """Remove one document. Raises `NotFound`, `NotAllowed`."""
    ctx.principal.require("chat:write")
    access.check_id(chat_id)

    async def body(tx: Transaction) -> None:
        await access.changeable(tx, ctx, chat_id)
        access.check_id(document_id, NOUN)
        if not await documents.delete(tx, chat_id, document_id, now=ctx.now_us()):
            raise NotFound(NOUN)

    await ctx.write(body, about=chat_id)
