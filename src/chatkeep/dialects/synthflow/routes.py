"""Synthflow's routes: open, read, talk in and delete a session; list the agents to talk with."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Path, Query, Request, Response

from chatkeep.dialects.synthflow import errors, translate, wire
from chatkeep.dialects.synthflow.manner import MANNER, Caller
from chatkeep.domain.chat import ChatThread
from chatkeep.domain.errors import ChatkeepError, NotFound, ProviderFailed
from chatkeep.domain.ids import AgentId
from chatkeep.domain.text import check_text
from chatkeep.services import agents, chats
from chatkeep.services.access import NOUN
from chatkeep.services.context import Answer, Context, Note
from chatkeep.services.generating import Outcome
from chatkeep.web import dialect
from chatkeep.web.answers import JsonAnswer, write
from chatkeep.web.dialect import Built, Hot, TheHouse, make_router
from chatkeep.web.house import House
from chatkeep.web.idempotency import Key, claimed
from chatkeep.web.rendered import View, answer_chat

router = make_router()
VIEW = View(MANNER.name)
ChatPath = Annotated[
    str, Path(description="The chat's UUID, made by the client.", json_schema_extra={"format": "uuid"})
]
IfNoneMatch = Annotated[str | None, Header(description="Answer 304 if the chat still has this ETag.")]


@router.post("/v2/chat/{chat_id}", summary="Create a chat", responses={200: {"model": wire.ChatOut}})
async def create(chat_id: ChatPath, body: wire.CreateChatIn, ctx: Caller) -> Response:
    """Open a session with an agent. The same call again answers with the same session; no second one is made."""
    new = translate.new_session(translate.chat_id(chat_id), body)
    thread = await agents.open_session(ctx, AgentId(body.model_id), new)
    return JsonAnswer(translate.chat(thread))


@router.get("/v2/chat/{chat_id}", summary="Get a chat", responses={200: {"model": wire.ChatOut}, 304: {}})
async def get(
    chat_id: ChatPath, ctx: Caller, house: TheHouse, request: Request, if_none_match: IfNoneMatch = None
) -> Response:
    """A session with its whole history."""
    return await answer_get(house, ctx, request)


async def answer_get(house: House, ctx: Context, request: Request) -> Response:
    """`get` without FastAPI's layers."""
    request.path_params["chat_id"] = translate.chat_id(request.path_params["chat_id"])
    return await answer_chat(house.rendered, ctx, request, VIEW, _rendered)


@router.delete("/v2/chat/{chat_id}", summary="Delete a chat", responses={200: {"model": wire.DeletedOut}})
async def delete(chat_id: ChatPath, ctx: Caller) -> JsonAnswer:
    """Delete a session for good; its UUID is free again."""
    await chats.purge(ctx, translate.chat_id(chat_id))
    out: wire.DeletedOut = {"status": "ok"}
    return JsonAnswer(out)


@router.post(
    "/v2/chat/{chat_id}/messages",
    summary="Send a message in a chat",
    responses={200: {"model": wire.MessageOut}},
)
async def send(
    chat_id: ChatPath,
    body: wire.SendMessageIn,
    ctx: Caller,
    house: TheHouse,
    request: Request,
    idempotency_key: Key = None,
) -> Response:
    """Say something to the agent and wait for its answer. The message is on disk before the agent is asked."""
    session_id = translate.chat_id(chat_id)
    house.runner.check_open()
    check_text("message", body.message, bytes_max=ctx.system.limits.message_bytes_max)
    claim = await claimed(ctx, request, lambda started: Note(started.run.chat_id))
    live = house.runner.begin(await agents.say(claim, session_id, body.message, settle=_settle))
    status, answer = _settle(await live.outcome())
    return Response(answer, status_code=status, media_type="application/json")


@router.get("/v2/assistants", include_in_schema=False)
@router.get("/v2/assistants/", summary="List agents", responses={200: {"model": wire.AssistantsOut}})
async def list_assistants(ctx: Caller, query: Annotated[wire.AssistantQuery, Query()]) -> JsonAnswer:
    """Agents of the workspace, oldest first."""
    found = await agents.list_agents(ctx, limit=query.limit, offset=query.offset)
    return JsonAnswer(translate.assistants(found, query))


def build(house: House) -> Built:
    """The Synthflow application and its hot routes."""
    return dialect.build(house, MANNER, [router], [Hot("GET", "/v2/chat/{chat_id}", answer_get)])


def _rendered(thread: ChatThread) -> bytes:
    return write(translate.chat(thread))


def _settle(outcome: Outcome) -> Answer:
    """How a send ends: with the agent's message, with the provider's failure, or with a chat deleted meanwhile."""
    if outcome.error is not None:
        return _failed(ProviderFailed(outcome.error))
    if outcome.message is None:
        return _failed(NotFound(NOUN))
    return 200, write(translate.answer(outcome.message))


def _failed(error: ChatkeepError) -> Answer:
    response = errors.write_error(error, "POST")
    return response.status_code, bytes(response.body)
