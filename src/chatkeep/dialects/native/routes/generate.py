"""Ask the model and wait, or read server-sent events. Stop, answer again, go on with an answer; look at runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Annotated

from fastapi import Path, Query, Request, Response

from chatkeep.dialects.native import errors, translate, wire_runs
from chatkeep.dialects.native.events import NAMED
from chatkeep.dialects.native.manner import MANNER, Caller
from chatkeep.dialects.native.routes.chats import ChatPath
from chatkeep.domain.errors import ChatkeepError, NotFound, ProviderFailed, ShuttingDown
from chatkeep.domain.event import Event
from chatkeep.domain.ids import ChatId, MessageId, ModelId, RunId
from chatkeep.domain.message import NewMessage
from chatkeep.domain.run import Run
from chatkeep.domain.text import check_text
from chatkeep.runtime.runner import LiveRun
from chatkeep.services import runs
from chatkeep.services.context import Answer, Context, Note
from chatkeep.services.generating import Outcome, StartedRun, outcome_of
from chatkeep.services.wishes import Wish
from chatkeep.web import sse
from chatkeep.web.answers import JsonAnswer
from chatkeep.web.dialect import TheHouse, house_of, make_router, rechecking
from chatkeep.web.house import House
from chatkeep.web.idempotency import Key, claimed

router = make_router()
OK = 200
ANSWER: dict[int | str, dict[str, object]] = {
    200: {"model": wire_runs.GenerateOut, "content": {"text/event-stream": {}}}
}
MessagePath = Annotated[str, Path(description="The message's id.")]
RunPath = Annotated[str, Path(description="The run's id.")]
Start = Callable[[Context, Wish], Awaitable[StartedRun]]


@router.post("/chats/{chat_id}/generate", summary="Ask the model", responses=ANSWER)
async def generate(
    chat_id: ChatPath,
    ctx: Caller,
    house: TheHouse,
    request: Request,
    body: wire_runs.GenerateIn = wire_runs.GenerateIn(),
    idempotency_key: Key = None,
) -> Response:
    """Append `message` if given, then answer. The question is on disk before the model is called, and the run goes on
    when you go away. With `stream`, events `run`, `delta`, `reasoning`, `source`, `tool_call` and at last `done` or
    `error`. After an answer with `tool_calls`, make the calls and ask again with `tool_results`.
    """
    said = said_by(ctx, body)

    async def start(claim: Context, wish: Wish) -> StartedRun:
        return await house.turns.start(claim, ChatId(chat_id), said, replace(wish, if_busy=body.if_busy))

    return await _answer(house, ctx, request, body, start)


@router.post("/chats/{chat_id}/regenerate", summary="Answer again", responses=ANSWER)
async def regenerate(
    chat_id: ChatPath,
    ctx: Caller,
    house: TheHouse,
    request: Request,
    body: wire_runs.AgainIn = wire_runs.AgainIn(),
    idempotency_key: Key = None,
) -> Response:
    """Answer the same question once more, on a branch beside the answer there is. Answers as `generate` does."""
    message_id = None if body.message_id is None else MessageId(body.message_id)

    async def start(claim: Context, wish: Wish) -> StartedRun:
        return await runs.regenerate(claim, ChatId(chat_id), message_id, wish)

    return await _answer(house, ctx, request, body, start)


@router.post("/chats/{chat_id}/continue", summary="Go on with an answer", responses=ANSWER)
async def go_on(
    chat_id: ChatPath,
    ctx: Caller,
    house: TheHouse,
    request: Request,
    body: wire_runs.AgainIn = wire_runs.AgainIn(),
    idempotency_key: Key = None,
) -> Response:
    """Have the model go on where an answer ends; it stays one message. Answers as `generate` does."""
    message_id = None if body.message_id is None else MessageId(body.message_id)

    async def start(claim: Context, wish: Wish) -> StartedRun:
        return await runs.go_on(claim, ChatId(chat_id), message_id, wish)

    return await _answer(house, ctx, request, body, start)


@router.post(
    "/chats/{chat_id}/messages/{message_id}/edit", summary="Say something else instead", responses=ANSWER
)
async def edit(
    chat_id: ChatPath,
    message_id: MessagePath,
    body: wire_runs.EditIn,
    ctx: Caller,
    request: Request,
    idempotency_key: Key = None,
) -> Response:
    """Put another message beside one of a user's and have that answered; the old branch stays. As `generate`."""

    async def start(claim: Context, wish: Wish) -> StartedRun:
        return await runs.edit(claim, ChatId(chat_id), MessageId(message_id), body.content, wish)

    return await _answer(house_of(request), ctx, request, body, start)


@router.post(
    "/chats/{chat_id}/stop", summary="Stop generating", responses={200: {"model": wire_runs.RunList}}
)
async def stop(
    chat_id: ChatPath,
    ctx: Caller,
    house: TheHouse,
    request: Request,
    body: wire_runs.StopIn = wire_runs.StopIn(),
    idempotency_key: Key = None,
) -> Response:
    """End the chat's running answers, or one of them, from any connection; what they have said is kept.

    Answers with the runs that were asked to stop. Their end is in the journal a moment later.
    """
    claim = await claimed(ctx, request, lambda asked: Note(ChatId(chat_id), (OK, bytes(_runs(asked).body))))
    asked = await runs.stop(claim, ChatId(chat_id), None if body.run_id is None else RunId(body.run_id))
    for run in asked:
        house.runner.stop(run.id)
    return _runs(asked)


@router.get("/chats/{chat_id}/runs", summary="List runs", responses={200: {"model": wire_runs.RunPage}})
async def list_runs(
    chat_id: ChatPath,
    ctx: Caller,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> Response:
    """The chat's runs, newest first."""
    page = await runs.list_runs(ctx, ChatId(chat_id), cursor=cursor, limit=limit)
    out: wire_runs.RunPage = {
        "items": [translate.run(each) for each in page.items],
        "next_cursor": page.next_cursor,
        "has_more": page.next_cursor is not None,
    }
    return JsonAnswer(out)


@router.get(
    "/chats/{chat_id}/runs/{run_id}", summary="Get a run", responses={200: {"model": wire_runs.RunOut}}
)
async def get_run(chat_id: ChatPath, run_id: RunPath, ctx: Caller) -> Response:
    """One run: its state, what it used, how it ended."""
    return JsonAnswer(translate.run(await runs.get(ctx, ChatId(chat_id), RunId(run_id))))


async def _answer(
    house: House, ctx: Context, request: Request, body: wire_runs.AnswerIn, start: Start
) -> Response:
    house.runner.check_open()
    claim = await claimed(ctx, request, lambda started: Note(started.run.chat_id))
    wish = replace(wish_of(body), settle=_settle_events if body.stream else _settle)
    live = house.runner.begin(await start(claim, wish))
    if body.stream:
        offer = sse.offering(request, _piece)
        journal = house.tail.run(ctx, live, recheck=rechecking(MANNER, request), offer=offer)
        return sse.stream(_events(live, journal))
    return _respond(await live.outcome())


def wish_of(body: wire_runs.AnswerIn) -> Wish:
    """How the client wants its answer."""
    choice = body.tool_choice
    return Wish(
        model_id=None if body.model_id is None else ModelId(body.model_id),
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        tools=None if not body.tools else [tool.model_dump(exclude_unset=True) for tool in body.tools],
        tool_choice=choice if choice is None or isinstance(choice, str) else choice.model_dump(),
    )


def _runs(asked: list[Run]) -> JsonAnswer:
    return JsonAnswer({"items": [translate.run(each) for each in asked]})


def said_by(ctx: Context, body: wire_runs.GenerateIn) -> list[NewMessage]:
    """What the client says, if it says anything. Raises `InvalidField`."""
    bytes_max = ctx.system.limits.message_bytes_max
    said = []
    for position, result in enumerate(body.tool_results):
        check_text(f"tool_results.{position}.content", result.content, bytes_max=bytes_max)
        said.append(NewMessage("tool", result.content, tool_call_id=result.tool_call_id))
    if body.message is not None:
        check_text("message", body.message, bytes_max=bytes_max)
        said.append(NewMessage("user", body.message, author_id=ctx.principal.id))
    return said


async def _events(live: LiveRun, journal: AsyncIterator[list[Event]]) -> AsyncIterator[bytes]:
    run = live.run
    first = {"run_id": run.id, "chat_id": run.chat_id, "question_id": run.question_id}
    yield sse.data(first, event="run", seq=run.first_seq)
    try:
        async for batch in journal:
            if not batch:
                yield sse.HEARTBEAT
            for event in batch:
                if event.text is not None:
                    yield _piece(event)
                elif event.kind in NAMED:
                    yield sse.data(event.data, event=NAMED[event.kind], seq=event.seq)
                elif event.ends_run:
                    yield _last(outcome_of(run, event), seq=event.seq)
                    return
        failure: ChatkeepError = live.failure or ShuttingDown()
    except ChatkeepError as error:
        failure = error
    yield _last(Outcome(run, None, None, str(failure)))  # how it ends is not known here


def _piece(event: Event) -> bytes:
    name = "delta" if event.kind == "run.delta" else "reasoning"
    return sse.data({"text": event.text}, event=name, seq=event.seq)


def _last(outcome: Outcome, *, seq: int | None = None) -> bytes:
    return sse.data(_out(outcome), event="done" if _refusal(outcome) is None else "error", seq=seq)


def _refusal(outcome: Outcome) -> ChatkeepError | None:
    if outcome.error is not None:
        return ProviderFailed(outcome.error)
    # Without text and without error the chat was deleted for good while the model spoke.
    return NotFound("Chat") if outcome.message is None else None


def _respond(outcome: Outcome) -> Response:
    refusal = _refusal(outcome)
    return JsonAnswer(_out(outcome)) if refusal is None else errors.write_error(refusal, "POST")


def _settle(outcome: Outcome) -> Answer:
    response = _respond(outcome)
    return response.status_code, bytes(response.body)


def _settle_events(outcome: Outcome) -> Answer:
    return OK, _last(outcome)


def _out(outcome: Outcome) -> wire_runs.GenerateOut:
    run, refusal = outcome.run, _refusal(outcome)
    return {
        "run_id": run.id,
        "chat_id": run.chat_id,
        "question_id": run.question_id,
        "message": None if outcome.message is None else translate.message(outcome.message),
        "usage": translate.usage(outcome.usage),
        "error": None if refusal is None else str(refusal),
    }
