"""Documents of a chat."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from chatkeep.dialects.native import translate, wire_documents
from chatkeep.dialects.native.manner import Caller
from chatkeep.dialects.native.routes.chats import CREATED, ChatPath
from chatkeep.domain.ids import ChatId, DocumentId
from chatkeep.services import documents
from chatkeep.services.context import Note
from chatkeep.web.answers import JsonAnswer, write
from chatkeep.web.dialect import make_router
from chatkeep.web.idempotency import Key, claimed

router = make_router()
DocumentPath = Annotated[str, Path(description="The document's id.")]


@router.get(
    "/chats/{chat_id}/documents",
    summary="List documents",
    responses={200: {"model": wire_documents.DocumentList}},
)
async def list_documents(chat_id: ChatPath, ctx: Caller) -> JsonAnswer:
    """The chat's documents without their texts, oldest first."""
    found = await documents.list_documents(ctx, ChatId(chat_id))
    out: wire_documents.DocumentList = {"items": [translate.document(each) for each in found]}
    return JsonAnswer(out)


@router.post(
    "/chats/{chat_id}/documents",
    status_code=CREATED,
    summary="Attach a document",
    responses={CREATED: {"model": wire_documents.DocumentOut}},
)
async def attach(
    chat_id: ChatPath,
    body: wire_documents.DocumentIn,
    ctx: Caller,
    request: Request,
    idempotency_key: Key = None,
) -> Response:
    """Keep a text with the chat; the model is given it with every question."""
    claim = await claimed(
        ctx, request, lambda document: Note(document.chat_id, (CREATED, write(translate.document(document))))
    )
    document = await documents.attach(claim, ChatId(chat_id), body.filename, body.content_type, body.text)
    return JsonAnswer(translate.document(document), status_code=CREATED)


@router.get(
    "/chats/{chat_id}/documents/{document_id}",
    summary="Get a document",
    responses={200: {"model": wire_documents.DocumentFull}},
)
async def get(chat_id: ChatPath, document_id: DocumentPath, ctx: Caller) -> JsonAnswer:
    """One document with its text."""
    document, text = await documents.get(ctx, ChatId(chat_id), DocumentId(document_id))
    out: wire_documents.DocumentFull = {**translate.document(document), "text": text}
    return JsonAnswer(out)


@router.delete(
    "/chats/{chat_id}/documents/{document_id}",
    status_code=204,
    summary="Remove a document",
    response_class=Response,
)
async def remove(chat_id: ChatPath, document_id: DocumentPath, ctx: Caller) -> Response:
    """Take a document out of the chat."""
    await documents.remove(ctx, ChatId(chat_id), DocumentId(document_id))
    return Response(status_code=204)
