"""Runs: start one, from a new message, beside an answer, or on from one; stop; look at them. Working on them is
`runtime.runner`'s, by way of `services.generating`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from chatkeep.domain.chat import Chat, NewChat
from chatkeep.domain.errors import AlreadyExists, ChatBusy, InvalidField, NotFound, RateLimited
from chatkeep.domain.ids import ChatId, MessageId, ModelId, RunId
from chatkeep.domain.message import Message, NewMessage
from chatkeep.domain.page import Page, read_cursor, write_cursor
from chatkeep.domain.run import Run
from chatkeep.domain.text import US, check_text
from chatkeep.services import access, appending, models, tools
from chatkeep.services import chats as chat_verbs
from chatkeep.services import messages as message_verbs
from chatkeep.services.context import Context
from chatkeep.services.generating import StartedRun
from chatkeep.services.wishes import Wish
from chatkeep.store import chats, events, messages, organisations, runs
from chatkeep.store.chats import Appending, Standing
from chatkeep.store.driver import Transaction
from chatkeep.store.events import Told

BUSY_RETRY_S = 5
RUNS_PER_CHAT_MAX = 4
NOUN = "Run"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer goes: after which message, and on from which unfinished one."""

    question_id: MessageId
    continued: Message | None = None


async def start(
    ctx: Context,
    chat_id: ChatId,
    said: list[NewMessage],
    wish: Wish,
) -> StartedRun:
    """Commit the user's messages and the run, before the model is called.

    While another answer is generated, `branch` begins a branch beside its question; else it raises `ChatBusy` (waiting
    for its turn, `queue`, is the runtime's). Raises `NotFound`, `NotAllowed`, `SessionEnded`, `NoModel`, `RateLimited`,
    and what appending raises.
    """
    ctx.principal.require("chat:invoke")
    access.check_id(chat_id)
    appending.check_said(ctx, said)

    async def body(tx: Transaction) -> StartedRun:
        return await start_in(tx, ctx, chat_id, said, wish)

    return await ctx.write(body, about=chat_id)


async def start_in(
    tx: Transaction,
    ctx: Context,
    chat_id: ChatId,
    said: list[NewMessage],
    wish: Wish,
) -> StartedRun:
    """The part of `start` that belongs into the transaction, for verbs that do more in it."""
    state = await message_verbs.open_for_append(tx, ctx, chat_id, while_busy=wish.if_busy == "branch")
    if state.status == "generating":
        said = await _beside(tx, chat_id, said)
    written = await appending.append_to(tx, ctx.system, state, said) if said else []
    if state.current_message_id is None:
        raise InvalidField("message", "is needed: nothing was said in this chat yet")
    place = Place(state.current_message_id)
    question = written[-1] if written else await messages.get(tx, chat_id, place.question_id)
    return await _start(tx, ctx, chat_id, place, wish, question=question)


async def start_chat(ctx: Context, new: NewChat, said: list[NewMessage], wish: Wish) -> StartedRun:
    """`chats.create` and `start` in one transaction."""
    ctx.principal.require("chat:invoke")
    chat_verbs.check_new(ctx, new, said, scope="chat:invoke")

    async def body(tx: Transaction) -> StartedRun:
        thread = await chat_verbs.create_in(tx, ctx, new, said)
        if thread.chat.current_message_id is None:
            raise InvalidField("message", "is needed: nothing was said in this chat yet")
        place = Place(thread.chat.current_message_id)
        return await _start(tx, ctx, thread.chat.id, place, wish, question=thread.messages[-1])

    return await ctx.write(body)


async def regenerate(ctx: Context, chat_id: ChatId, answer_id: MessageId | None, wish: Wish) -> StartedRun:
    """Answer the same question again, on a branch beside `answer_id` (None: the current answer), which stays.

    Raises what `start` does, and `InvalidField` where that is no answer.
    """

    async def body(tx: Transaction, state: Appending) -> StartedRun:
        answer, question_id = await _answer(tx, chat_id, answer_id or state.current_message_id)
        beside = replace(wish, replaces=answer.id)
        return await _start(tx, ctx, chat_id, Place(question_id), beside)

    return await _in_chat(ctx, chat_id, body)


async def edit(
    ctx: Context,
    chat_id: ChatId,
    message_id: MessageId,
    content: str,
    wish: Wish,
) -> StartedRun:
    """Say something else instead of `message_id`, on a branch beside it, and have that answered. Raises as `start`."""
    again = NewMessage("user", content, author_id=ctx.principal.id)
    appending.check_said(ctx, [again])

    async def body(tx: Transaction, state: Appending) -> StartedRun:
        before = await messages.get(tx, chat_id, message_id)
        if before is None or before.role != "user":
            raise InvalidField("message_id", "no such message of a user in this chat")
        said = replace(again, parent_id=before.parent_id, is_root=before.parent_id is None)
        written = await appending.append_to(tx, ctx.system, state, [said])
        return await _start(tx, ctx, chat_id, Place(written[0].id), wish, question=written[0])

    return await _in_chat(ctx, chat_id, body)


async def go_on(ctx: Context, chat_id: ChatId, answer_id: MessageId | None, wish: Wish) -> StartedRun:
    """Have an answer continued where it ends (None: the current one); it stays one message. Raises as `regenerate`."""

    async def body(tx: Transaction, state: Appending) -> StartedRun:
        answer, question_id = await _answer(tx, chat_id, answer_id or state.current_message_id)
        place = Place(question_id, continued=answer)
        return await _start(tx, ctx, chat_id, place, replace(wish, answer_id=answer.id))

    return await _in_chat(ctx, chat_id, body)


async def stop(ctx: Context, chat_id: ChatId, run_id: RunId | None = None) -> list[Run]:
    """Ask for the end of the chat's running answers, or of one: durable, from any connection. Returns those asked.

    Raises `NotFound`, `NotAllowed`; an empty list says that none was running.
    """
    ctx.principal.require("chat:invoke")
    access.check_id(chat_id)
    if run_id is not None:
        access.check_id(run_id, NOUN)

    async def body(tx: Transaction) -> list[Run]:
        await access.changeable(tx, ctx, chat_id)
        running = await runs.running_in(tx, chat_id)
        if run_id is not None:
            known = await runs.get(tx, run_id)
            if known is None or known.chat_id != chat_id:
                raise NotFound(NOUN)
        now = ctx.now_us()
        await runs.ask_to_stop(tx, chat_id, run_id, now=now)
        asked = [run for run in running if run_id in (None, run.id)]
        return [replace(run, stop_requested_at=run.stop_requested_at or now) for run in asked]

    return await ctx.write(body, about=chat_id)


async def get(ctx: Context, chat_id: ChatId, run_id: RunId) -> Run:
    """One run of the chat. Raises `NotFound`."""
    ctx.principal.require("chat:read")
    access.check_id(chat_id)
    access.check_id(run_id, NOUN)

    async def body(tx: Transaction) -> Run:
        await access.readable(tx, ctx, chat_id)
        run = await runs.get(tx, run_id)
        if run is None or run.chat_id != chat_id:
            raise NotFound(NOUN)
        return run

    return await ctx.peek(body)


async def list_runs(ctx: Context, chat_id: ChatId, *, cursor: str | None, limit: int) -> Page[Run]:
    """The chat's runs, newest first. Raises `NotFound`, `BadCursor`."""
    ctx.principal.require("chat:read")
    access.check_id(chat_id)
    before = runs.NEWEST if cursor is None else str(read_cursor(cursor, str)[0])

    async def body(tx: Transaction) -> Page[Run]:
        await access.readable(tx, ctx, chat_id)
        rows = await runs.of_chat(tx, chat_id, before_id=before, limit=limit + 1)
        return Page(rows[:limit], write_cursor(rows[limit - 1].id) if len(rows) > limit else None)

    return await ctx.read(body)


async def _in_chat(
    ctx: Context, chat_id: ChatId, body: Callable[[Transaction, Appending], Awaitable[StartedRun]]
) -> StartedRun:
    ctx.principal.require("chat:invoke")
    access.check_id(chat_id)

    async def opened(tx: Transaction) -> StartedRun:
        return await body(tx, await message_verbs.open_for_append(tx, ctx, chat_id))

    return await ctx.write(opened, about=chat_id)


async def _answer(
    tx: Transaction, chat_id: ChatId, message_id: MessageId | None
) -> tuple[Message, MessageId]:
    """An answer of the chat and the message that it answers. Raises `InvalidField`."""
    answer = None if message_id is None else await messages.get(tx, chat_id, message_id)
    if answer is None or answer.role != "assistant":
        raise InvalidField("message_id", "no such answer in this chat")
    if answer.parent_id is None:
        raise InvalidField("message_id", "this message answers nothing")
    return answer, answer.parent_id


async def _beside(tx: Transaction, chat_id: ChatId, said: list[NewMessage]) -> list[NewMessage]:
    """Put the first of `said` beside the question that is being answered, where it does not name its own place."""
    running = await runs.running_in(tx, chat_id)
    if not said or len(running) >= RUNS_PER_CHAT_MAX:
        raise ChatBusy()
    first = said[0]
    if not running or first.parent_id is not None or first.is_root:
        return said
    question = await messages.get(tx, chat_id, running[-1].question_id)
    parent_id = None if question is None else question.parent_id
    return [replace(first, parent_id=parent_id, is_root=parent_id is None), *said[1:]]


async def _start(
    tx: Transaction,
    ctx: Context,
    chat_id: ChatId,
    place: Place,
    wish: Wish,
    *,
    question: Message | None = None,
) -> StartedRun:
    reserved = await _reserved(tx, ctx, wish)
    chat = await _instructed(tx, ctx, chat_id, wish)
    is_taken = wish.answer_id is not None and place.continued is None
    if is_taken and await messages.turn_number(tx, chat_id, wish.answer_id) is not None:  # type: ignore[arg-type]  # checked above
        raise AlreadyExists("The chat has a message with this id already.")
    model, route = await models.route(tx, ctx.system, wish.model_id or chat.model_id)
    await tools.check(tx, ctx.system.limits, wish, route, question=question)
    now = ctx.now_us()
    count = 1 if place.continued is None else 2
    standing = Standing("generating", model_id=model.id)
    seq, moved = await chats.set_status(tx, chat_id, standing, now=now, count=count)
    run = _run(ctx, chat_id, place, wish, model_id=model.id, first_seq=seq - count + 1)
    await runs.insert(tx, run, reserved_tokens=reserved)
    await events.append(
        tx,
        chat_id,
        run.first_seq,
        now,
        Told(
            "run.started",
            run_id=run.id,
            chat=moved,
            data={"question_id": run.question_id, "answer_id": run.answer_id, "model_id": run.model_id},
        ),
    )
    if place.continued is not None:
        grows = replace(place.continued, status="generating", error=None)
        await events.keep_said(tx, place.continued)
        await messages.answer(tx, grows)
        await events.append(tx, chat_id, seq, now, Told("message.updated", run_id=run.id, message=grows))
    return StartedRun(
        system=ctx.system,
        run=run,
        route=route,
        wish=wish,
        chat=chat,
        question=question,
        is_begun=place.continued is not None,
        claim=ctx.claim,
    )


def _run(
    ctx: Context, chat_id: ChatId, place: Place, wish: Wish, *, model_id: ModelId, first_seq: int
) -> Run:
    now, name = ctx.now_us(), None if ctx.claim is None else ctx.claim.name
    return Run(
        organisation_id=ctx.principal.organisation_id,
        id=RunId(ctx.system.entropy.uuid7()),
        chat_id=chat_id,
        principal_id=ctx.principal.id,
        question_id=place.question_id,
        answer_id=wish.answer_id or MessageId(ctx.system.entropy.uuid7()),
        model_id=model_id,
        wish=wish.kept(),
        request=None if name is None else {"route": name.route, "key": name.key},
        state="running",
        first_seq=first_seq,
        epoch=1,
        holder=ctx.system.node,
        lease_until=now + int(ctx.system.limits.lease_s * US),
        stop_requested_at=None,
        usage=None,
        response_time_ms=None,
        started_at=now,
        ended_at=None,
        error=None,
    )


async def _reserved(tx: Transaction, ctx: Context, wish: Wish) -> int:
    """Tokens set aside for the run; they are settled when it ends. Raises `RateLimited`."""
    limits = ctx.system.limits
    await organisations.lock(tx)
    running, reserved = await runs.running_count(tx)
    if running >= limits.runs_per_organisation_max:
        raise RateLimited(BUSY_RETRY_S)
    budget = limits.tokens_per_organisation_max
    if budget is None:
        return 0
    now, window = ctx.now_us(), int(limits.tokens_window_s * US)
    began, used = await runs.budget(tx)
    if now - began >= window:
        began, used = now, 0
        await runs.begin_budget(tx, now=now)
    wanted = min(wish.max_tokens or TOKENS_RESERVED, budget)
    if used + reserved + wanted > budget:
        raise RateLimited(max(1, (began + window - now) // US))
    return wanted


TOKENS_RESERVED = 1_000
"""Set aside for an answer whose length nobody has bounded."""


async def _instructed(tx: Transaction, ctx: Context, chat_id: ChatId, wish: Wish) -> Chat:
    chat = await chats.get(tx, chat_id)
    assert chat is not None
    if wish.system_prompt is None or wish.system_prompt == chat.system_prompt:
        return chat
    check_text("system_prompt", wish.system_prompt, bytes_max=ctx.system.limits.system_prompt_bytes_max)
    instructed = replace(chat, system_prompt=wish.system_prompt)
    await chats.update(tx, instructed, before=chat)
    return instructed
