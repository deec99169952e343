"""One answer from its first word to its end, as the runner writes it down: what the model is asked, the message that
grows, the end. Every write is made under the run's epoch: of a run that is over or held by another, nothing is written.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from chatkeep.domain.chat import Chat, ChatStatus, ChatThread
from chatkeep.domain.errors import LeaseLost
from chatkeep.domain.event import Event, EventKind
from chatkeep.domain.json import JsonObject
from chatkeep.domain.message import Message, MessageStatus, NewMessage, path_to
from chatkeep.domain.run import Run, RunState
from chatkeep.domain.usage import Usage
from chatkeep.models.port import Prompt, Turn
from chatkeep.services import appending, models
from chatkeep.services.context import Claim, System
from chatkeep.services.models import Route
from chatkeep.services.wishes import Wish
from chatkeep.store import chats, documents, events, idempotency, messages, runs
from chatkeep.store.chats import Standing
from chatkeep.store.driver import Transaction
from chatkeep.store.events import Told
from chatkeep.store.runs import Ending

BYTES_PER_TOKEN = 3
"""Bytes, not characters: a token is about four letters of English, but only one character of Chinese."""


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A committed run and what is needed to work on it.

    `claim` is of the request that asked, and known only to the process that took it; `route` is None where nobody is to
    be asked. `is_begun`: the answer's message is there already, and is to be continued.
    """

    system: System
    run: Run
    route: Route | None
    wish: Wish
    chat: Chat
    question: Message | None = None
    is_begun: bool = False
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """The next piece of an answer."""

    kind: EventKind
    text: str


@dataclass(frozen=True, slots=True)
class Generated:
    """How generating ended: the pieces that are not in the journal yet, usage with its cost if the provider counted,
    time in ms, and the error it broke off with.
    """

    state: RunState
    rest: tuple[Said, ...]
    usage: Usage | None
    response_time_ms: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: its answer (None when it failed before the first word, or its chat is gone), and the error."""

    run: Run
    message: Message | None
    usage: Usage | None
    error: str | None


def outcome_of(run: Run, end: Event) -> Outcome:
    """The outcome as the journal tells it; `end` is the run's last event."""
    data: Any = end.data or {}
    usage = data.get("usage")
    return Outcome(run, end.message, None if usage is None else Usage(**usage), data.get("error"))


async def prompt(started: StartedRun) -> Prompt:
    """What the model is asked: prompts and documents first, then as much of the path to the question as fits.

    An answer that is begun already goes last, for the model to continue.
    """
    run, route = started.run, started.route
    assert route is not None

    async def body(tx: Transaction) -> tuple[ChatThread, list[str]]:
        chat = await chats.get(tx, run.chat_id)
        if chat is None:
            raise LeaseLost()
        texts = []
        for document in await documents.of_chat(tx, run.chat_id):
            found = await documents.get(tx, run.chat_id, document.id)
            assert found is not None
            texts.append(f"Document {document.filename}:\n{found[1]}")
        return ChatThread(chat, await messages.of_chat(tx, run.chat_id)), texts

    thread, texts = await started.system.store.read(run.organisation_id, body)
    heads = [route.system_prompt, thread.chat.system_prompt, *texts]
    path = path_to(thread.messages, run.answer_id if started.is_begun else run.question_id)
    turns = fit([text for text in heads if text], path, _tokens_for_input(started.wish, route))
    return Prompt(route.model_name, turns, _tokens_for_answer(started.wish, route), started.wish.temperature)


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


async def begin_answer(started: StartedRun, text: str) -> None:
    """From its first word on the answer is a message of the chat. Raises `LeaseLost`."""
    system, run = started.system, started.run

    async def body(tx: Transaction) -> None:
        if not await runs.is_held(tx, run):
            raise LeaseLost()
        await _append_answer(tx, started, NewMessage("assistant", "", status="generating"))
        await say(tx, run, (Said("run.delta", text),), now=system.clock.now_us())

    await system.store.write(run.organisation_id, body)


async def say(tx: Transaction, run: Run, pieces: tuple[Said, ...], *, now: int) -> None:
    """Put pieces of an answer into the journal."""
    seq = await chats.advance(tx, run.chat_id, len(pieces)) - len(pieces)
    for said in pieces:
        seq += 1
        await events.append(tx, run.chat_id, seq, now, Told(said.kind, run_id=run.id, text=said.text))


async def finish(started: StartedRun, generated: Generated) -> Outcome:
    """Write the answer, end the run and settle the Idempotency-Key, in one transaction.

    What the model said before it broke off is kept as an `incomplete` message. Raises `LeaseLost` when the run is over
    already, or another's.
    """
    run = started.run

    async def body(tx: Transaction) -> Outcome:
        return await finish_in(tx, started, generated)

    return await started.system.store.write(run.organisation_id, body)


async def finish_in(tx: Transaction, started: StartedRun, generated: Generated) -> Outcome:
    """The part of `finish` that belongs into the transaction."""
    run, system = started.run, started.system
    if await chats.access(tx, run.chat_id) is None:
        # Purged meanwhile, and the run with it; that its pieces were refused then is no error of the model's.
        outcome = Outcome(run, None, generated.usage, None)
    else:
        message = await _answer(tx, started, generated)
        await _end(tx, started, generated, message)
        outcome = Outcome(run, message, generated.usage, generated.error)
    await _settle(tx, started, outcome)
    tokens = _tokens_used(started, generated, outcome.message)
    await runs.spend(tx, tokens, now=system.clock.now_us())
    return outcome


async def _end(tx: Transaction, started: StartedRun, generated: Generated, message: Message | None) -> None:
    run, now = started.run, started.system.clock.now_us()
    others = [each for each in await runs.running_in(tx, run.chat_id) if each.id != run.id]
    status: ChatStatus | None = "generating" if others else None if generated.error is None else "error"
    if generated.rest:
        await say(tx, run, generated.rest, now=now)
    seq, moved = await chats.set_status(tx, run.chat_id, Standing(status, generated.error), now=now)
    ending = Ending(generated.state, seq, generated.error, generated.usage, generated.response_time_ms)
    if not await runs.end(tx, run, ending, now=now):
        raise LeaseLost()
    data: JsonObject = {
        "error": generated.error,
        "usage": None if generated.usage is None else asdict(generated.usage),
        "response_time_ms": generated.response_time_ms,
    }
    kind: EventKind = "run.completed"
    if generated.state != "completed":
        kind = "run.stopped" if generated.state == "stopped" else "run.failed"
    await events.append(
        tx, run.chat_id, seq, now, Told(kind, run_id=run.id, message=message, chat=moved, data=data)
    )


async def _answer(tx: Transaction, started: StartedRun, generated: Generated) -> Message | None:
    """The answer's message as it is in the end."""
    run, usage = started.run, generated.usage
    rest = "".join(said.text for said in generated.rest if said.kind == "run.delta")
    status: MessageStatus = "complete" if generated.state == "completed" else "incomplete"
    stored = await messages.get(tx, run.chat_id, run.answer_id)
    if stored is None:
        if not rest and generated.state == "failed":
            return None
        stored = await _append_answer(tx, started, NewMessage("assistant", "", status="generating"))
    final = replace(
        stored,
        content=stored.content + rest,
        status=status,
        error=generated.error,
        model_id=run.model_id,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cost=usage.cost if usage else None,
        response_time_ms=generated.response_time_ms,
    )
    await messages.answer(tx, final)
    return final


async def _append_answer(tx: Transaction, started: StartedRun, answer: NewMessage) -> Message:
    run = started.run
    state = await chats.appending(tx, run.chat_id)
    if state is None:
        raise LeaseLost()
    placed = replace(
        answer,
        id=run.answer_id,
        parent_id=run.question_id,
        agent_id=started.chat.agent_id,
        state_id=started.wish.answer_state_id,
        model_id=run.model_id,
    )
    # Where somebody has gone on from elsewhere meanwhile, the conversation stays there.
    is_current = state.current_message_id in (run.question_id, started.wish.replaces)
    head = None if is_current else state.current_message_id
    written = await appending.append_to(tx, started.system, state, [placed], head=head, run_id=run.id)
    return written[0]


async def _settle(tx: Transaction, started: StartedRun, outcome: Outcome) -> None:
    request = started.run.request
    if started.claim is not None and started.wish.settle is not None:
        await started.claim.settle(tx, started.wish.settle(outcome))
    elif request is not None:  # who asked is not known here any more, only that its answer will not come
        name = idempotency.RequestKey(started.run.principal_id, str(request["route"]), str(request["key"]))
        await idempotency.answer(tx, name, idempotency.LOST, b"")


def _tokens_used(started: StartedRun, generated: Generated, message: Message | None) -> int:
    if generated.usage is not None:
        return generated.usage.total_tokens
    return 0 if message is None else len(message.content.encode()) // BYTES_PER_TOKEN


def _cut(text: str, bytes_max: int) -> str:
    raw = text.encode()
    return text if len(raw) <= bytes_max else raw[:bytes_max].decode(errors="ignore")


def _tokens_for_input(wish: Wish, route: Route) -> int:
    window = route.context_window
    reserved = min(_tokens_for_answer(wish, route) or window // 4, window // 2)
    return max(window - reserved, 64)


def _tokens_for_answer(wish: Wish, route: Route) -> int | None:
    return models.least(wish.max_tokens, route.max_tokens)
