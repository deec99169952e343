"""Runs: start one, build what the model is asked, end one. The work between start and end is `runtime.runner`'s."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from chatkeep.domain.chat import Chat, ChatThread, NewChat
from chatkeep.domain.errors import AlreadyExists, InvalidField, RateLimited
from chatkeep.domain.ids import ChatId, MessageId, ModelId, RunId
from chatkeep.domain.message import Message, MessageStatus, NewMessage, path_to
from chatkeep.domain.run import INTERRUPTED, Run, RunState
from chatkeep.domain.text import check_text
from chatkeep.domain.usage import Usage
from chatkeep.models.port import Prompt, Turn
from chatkeep.services import access, appending, models
from chatkeep.services import chats as chat_verbs
from chatkeep.services import messages as message_verbs
from chatkeep.services.context import Answer, Context, System
from chatkeep.services.models import Route
from chatkeep.store import chats, documents, idempotency, messages, runs
from chatkeep.store.driver import Transaction

BYTES_PER_TOKEN = 3
"""Bytes, not characters: a token is about four letters of English, but only one character of Chinese."""
BUSY_RETRY_S = 5


@dataclass(frozen=True, slots=True)
class Wish:
    """How the answer is wanted. `model_id` None takes the chat's model; `answer_*` mark the answer's message.

    A `model_id` and a `system_prompt` given here become the chat's own.
    """

    model_id: ModelId | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    system_prompt: str | None = None
    answer_id: MessageId | None = None
    answer_state_id: str | None = None


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A committed run and what is needed to work on it. `settle` renders the answer for an Idempotency-Key."""

    ctx: Context
    run: Run
    route: Route
    wish: Wish
    chat: Chat
    question: Message | None
    settle: Callable[[Outcome], Answer] | None = None


@dataclass(frozen=True, slots=True)
class Generated:
    """What the model gave: text, usage if the provider counted, time in ms, and the error it broke off with."""

    text: str
    usage: Usage | None
    response_time_ms: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: the message written (None when there was no text), and the error if it failed."""

    run: Run
    message: Message | None
    usage: Usage | None
    error: str | None


async def start(
    ctx: Context,
    chat_id: ChatId,
    said: list[NewMessage],
    wish: Wish,
    *,
    settle: Callable[[Outcome], Answer] | None = None,
) -> StartedRun:
    """Commit the user's messages and the run, before the model is called.

    Raises `NotFound`, `NotAllowed`, `ChatBusy`, `SessionEnded`, `NoModel`, `RateLimited`, and what appending raises.
    """
    ctx.principal.require("chat:invoke")
    access.check_id(chat_id)
    appending.check_said(ctx, said)

    async def body(tx: Transaction) -> StartedRun:
        return await start_in(tx, ctx, chat_id, said, wish, settle=settle)

    return await ctx.write(body)


async def start_in(
    tx: Transaction,
    ctx: Context,
    chat_id: ChatId,
    said: list[NewMessage],
    wish: Wish,
    *,
    settle: Callable[[Outcome], Answer] | None = None,
) -> StartedRun:
    """The part of `start` that belongs into the transaction, for verbs that do more in it."""
    state = await message_verbs.open_for_append(tx, ctx, chat_id)
    written = await appending.append_to(tx, ctx, chat_id, state, said) if said else []
    return await _start(tx, ctx, chat_id, written, wish, settle)


async def start_chat(
    ctx: Context,
    new: NewChat,
    said: list[NewMessage],
    wish: Wish,
    *,
    settle: Callable[[Outcome], Answer] | None = None,
) -> StartedRun:
    """`chats.create` and `start` in one transaction."""
    ctx.principal.require("chat:invoke")
    chat_verbs.check_new(ctx, new, said, scope="chat:invoke")

    async def body(tx: Transaction) -> StartedRun:
        thread = await chat_verbs.create_in(tx, ctx, new, said)
        return await _start(tx, ctx, thread.chat.id, thread.messages, wish, settle)

    return await ctx.write(body)


async def prompt(started: StartedRun) -> Prompt:
    """What the model is asked: prompts and documents first, then as much of the path to the question as fits."""
    ctx, run = started.ctx, started.run

    async def body(tx: Transaction) -> tuple[ChatThread, list[str]]:
        chat = await chats.get(tx, run.chat_id)
        assert chat is not None
        texts = []
        for document in await documents.of_chat(tx, run.chat_id):
            found = await documents.get(tx, run.chat_id, document.id)
            assert found is not None
            texts.append(f"Document {document.filename}:\n{found[1]}")
        return ChatThread(chat, await messages.of_chat(tx, run.chat_id)), texts

    thread, texts = await ctx.read(body)
    heads = [started.route.system_prompt, thread.chat.system_prompt, *texts]
    path = path_to(thread.messages, run.question_id)
    turns = fit([text for text in heads if text], path, _tokens_for_input(started))
    return Prompt(started.route.model_name, turns, _tokens_for_answer(started), started.wish.temperature)


def fit(heads: list[str], path: list[Message], tokens_max: int) -> tuple[Turn, ...]:
    """The system texts as one turn, then the newest messages that fit by a careful guess of three bytes a token.

    The last message always goes in, cut at its end if it alone is too long. Results of tools are not given.
    """
    room = tokens_max * BYTES_PER_TOKEN
    head = _cut("\n\n".join(heads), room // 2)
    room -= len(head.encode())
    chosen: list[Turn] = []
    for message in reversed(path):
        if message.role == "tool" or not message.content:
            continue
        size = len(message.content.encode())
        if chosen and size > room:
            break
        chosen.append(Turn(message.role, _cut(message.content, room)))
        room -= size
    chosen.reverse()
    return (Turn("system", head), *chosen) if head else tuple(chosen)


async def finish(started: StartedRun, generated: Generated) -> Outcome:
    """Write the answer, end the run and settle the Idempotency-Key, in one transaction.

    What the model said before it broke off is kept as an `incomplete` message.
    """
    ctx, run = started.ctx, started.run

    async def body(tx: Transaction) -> Outcome:
        message = await _answer(tx, started, generated) if generated.text or generated.error is None else None
        state: RunState = "completed" if generated.error is None else "failed"
        await runs.end(tx, run, state, generated.error, now=ctx.now_us())
        outcome = Outcome(run, message, generated.usage, generated.error)
        if ctx.claim is not None and started.settle is not None:
            await ctx.claim.settle(tx, started.settle(outcome))
        return outcome

    return await ctx.system.store.write(run.organisation_id, body)


async def interrupt_all(system: System) -> int:
    """At start-up of a single-process server: nobody works on the runs of before. How many there were."""

    async def body(tx: Transaction) -> int:
        await idempotency.interrupt_all(tx)
        return await runs.interrupt_all(tx, INTERRUPTED, now=system.clock.now_us())

    return await system.store.write(None, body)


async def _start(
    tx: Transaction,
    ctx: Context,
    chat_id: ChatId,
    written: list[Message],
    wish: Wish,
    settle: Callable[[Outcome], Answer] | None,
) -> StartedRun:
    if await runs.running_count(tx) >= ctx.system.limits.runs_per_organisation_max:
        raise RateLimited(BUSY_RETRY_S)
    chat = await _instructed(tx, ctx, chat_id, wish)
    if chat.current_message_id is None:
        raise InvalidField("message", "is needed: nothing was said in this chat yet")
    if wish.answer_id is not None and await messages.turn_number(tx, chat_id, wish.answer_id) is not None:
        raise AlreadyExists("The chat has a message with this id already.")
    model, route = await models.route(tx, ctx.system, wish.model_id or chat.model_id)
    run = Run(
        organisation_id=chat.organisation_id,
        id=RunId(ctx.system.entropy.uuid7()),
        chat_id=chat_id,
        question_id=chat.current_message_id,
        answer_id=wish.answer_id or MessageId(ctx.system.entropy.uuid7()),
        model_id=model.id,
        state="running",
        started_at=ctx.now_us(),
        ended_at=None,
        error=None,
    )
    await runs.insert(tx, run)
    return StartedRun(ctx, run, route, wish, chat, written[-1] if written else None, settle)


async def _instructed(tx: Transaction, ctx: Context, chat_id: ChatId, wish: Wish) -> Chat:
    chat = await chats.get(tx, chat_id)
    assert chat is not None
    if wish.system_prompt is None or wish.system_prompt == chat.system_prompt:
        return chat
    check_text("system_prompt", wish.system_prompt, bytes_max=ctx.system.limits.system_prompt_bytes_max)
    chat = replace(chat, system_prompt=wish.system_prompt)
    await chats.update(tx, chat)
    return chat


async def _answer(tx: Transaction, started: StartedRun, generated: Generated) -> Message | None:
    run = started.run
    state = await chats.appending(tx, run.chat_id)
    if state is None:
        return None  # The chat was purged meanwhile: there is nothing left to write into.
    status: MessageStatus = "complete" if generated.error is None else "incomplete"
    usage = generated.usage
    answer = NewMessage(
        role="assistant",
        content=generated.text,
        id=run.answer_id,
        parent_id=run.question_id,
        status=status,
        error=generated.error,
        agent_id=started.chat.agent_id,
        state_id=started.wish.answer_state_id,
        model_id=run.model_id,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        response_time_ms=generated.response_time_ms,
    )
    return (await appending.append_to(tx, started.ctx, run.chat_id, state, [answer]))[0]


def _cut(text: str, bytes_max: int) -> str:
    raw = text.encode()
    return text if len(raw) <= bytes_max else raw[:bytes_max].decode(errors="ignore")


def _tokens_for_input(started: StartedRun) -> int:
    window = started.route.context_window
    reserved = min(_tokens_for_answer(started) or window // 4, window // 2)
    return max(window - reserved, 64)


def _tokens_for_answer(started: StartedRun) -> int | None:
    return models.least(started.wish.max_tokens, started.route.max_tokens)
