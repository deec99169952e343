"""One answer from its first word to its end, as the runner writes it down: the message that grows, the end.

Every write is made under the run's epoch: of a run that is over or held by another, nothing is written.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from chatkeep.domain.chat import Chat, ChatStatus
from chatkeep.domain.errors import LeaseLost
from chatkeep.domain.event import Event, EventKind
from chatkeep.domain.json import JsonObject, JsonValue
from chatkeep.domain.message import Message, MessageStatus, NewMessage
from chatkeep.domain.run import Run, RunState
from chatkeep.domain.usage import Usage
from chatkeep.models.port import SOURCES_MAX, Source, ToolCall
from chatkeep.services import appending, tools
from chatkeep.services.context import Claim, System
from chatkeep.services.models import Route
from chatkeep.services.wishes import Wish
from chatkeep.store import chats, events, idempotency, messages, runs
from chatkeep.store.chats import Standing
from chatkeep.store.driver import Transaction
from chatkeep.store.events import Told
from chatkeep.store.rows import json_bytes
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
    time in ms, the error it broke off with, the calls of tools it ended with, and the sources it named.
    """

    state: RunState
    rest: tuple[Said, ...]
    usage: Usage | None
    response_time_ms: int
    error: str | None = None
    calls: tuple[ToolCall, ...] = ()
    sources: tuple[Source, ...] = ()


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


async def begin_answer(started: StartedRun, text: str) -> None:
    """From its first word on the answer is a message of the chat. Raises `LeaseLost`."""
    system, run = started.system, started.run

    async def body(tx: Transaction) -> None:
        if not await runs.is_held(tx, run):
            raise LeaseLost()
        await _append_answer(tx, started, NewMessage("assistant", "", status="generating"))
        await say(tx, run, (Said("run.delta", text),), now=system.clock.now_us())

    await system.store.write(run.organisation_id, body, about=run.chat_id)


async def say(tx: Transaction, run: Run, pieces: tuple[Said, ...], *, now: int) -> None:
    """Put pieces of an answer into the journal."""
    seq = await chats.advance(tx, run.chat_id, len(pieces)) - len(pieces)
    for said in pieces:
        seq += 1
        await events.append(tx, run.chat_id, seq, now, Told(said.kind, run_id=run.id, text=said.text))


async def tell(tx: Transaction, run: Run, named: list[Told], *, now: int) -> None:
    """Put what an answer named into the journal, beside the message that has it."""
    if named:
        seq = await chats.advance(tx, run.chat_id, len(named)) - len(named)
        for each in named:
            seq += 1
            await events.append(tx, run.chat_id, seq, now, each)


def sources_of(run: Run, message: Message, sources: tuple[Source, ...]) -> list[Told]:
    """What is to be told of pages that the answer has not named before."""
    known = [each["url"] for each in message.sources or () if isinstance(each, dict)]
    new = [source for source in sources if source.url not in known][: SOURCES_MAX - len(known)]
    return [Told("run.source", run_id=run.id, data=asdict(source)) for source in new]


def joined(before: list[JsonValue] | None, new: list[JsonValue]) -> list[JsonValue] | None:
    """A message's list with what is new; None for none."""
    return [*(before or ()), *new] or None


async def finish(started: StartedRun, generated: Generated) -> Outcome:
    """Write the answer, end the run and settle the Idempotency-Key, in one transaction.

    What the model said before it broke off is kept as an `incomplete` message. Raises `LeaseLost` when the run is over
    already, or another's.
    """
    run = started.run

    async def body(tx: Transaction) -> Outcome:
        return await finish_in(tx, started, generated)

    return await started.system.store.write(run.organisation_id, body, about=run.chat_id)


async def finish_in(tx: Transaction, started: StartedRun, generated: Generated) -> Outcome:
    """The part of `finish` that belongs into the transaction."""
    run, system = started.run, started.system
    if await chats.access(tx, run.chat_id) is None:
        # Purged meanwhile, and the run with it; that its pieces were refused then is no error of the model's.
        outcome = Outcome(run, None, generated.usage, None)
    else:
        message, named = await _answer(tx, started, generated)
        await _end(tx, started, generated, message, named)
        outcome = Outcome(run, message, generated.usage, generated.error)
    await _settle(tx, started, outcome)
    tokens = _tokens_used(started, generated, outcome.message)
    await runs.spend(tx, tokens, now=system.clock.now_us())
    return outcome


async def _end(
    tx: Transaction, started: StartedRun, generated: Generated, message: Message | None, named: list[Told]
) -> None:
    run, now = started.run, started.system.clock.now_us()
    others = [each for each in await runs.running_in(tx, run.chat_id) if each.id != run.id]
    status: ChatStatus | None = "generating" if others else None if generated.error is None else "error"
    if generated.rest:
        await say(tx, run, generated.rest, now=now)
    await tell(tx, run, named, now=now)
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


async def _answer(
    tx: Transaction, started: StartedRun, generated: Generated
) -> tuple[Message | None, list[Told]]:
    """The answer's message as it is in the end, and what is to be told of the sources and calls that it got with it."""
    run, usage = started.run, generated.usage
    rest = "".join(said.text for said in generated.rest if said.kind == "run.delta")
    status: MessageStatus = "complete" if generated.state == "completed" else "incomplete"
    stored = await messages.get(tx, run.chat_id, run.answer_id)
    if stored is None:
        if not rest and generated.state == "failed":
            return None, []
        stored = await _append_answer(tx, started, NewMessage("assistant", "", status="generating"))
    sources, calls = sources_of(run, stored, generated.sources), tools.named(run, generated.calls)
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
        tool_calls=joined(stored.tool_calls, [tools.as_kept(call) for call in calls]),
        sources=joined(stored.sources, [told.data for told in sources]),
    )
    await messages.answer(tx, final)
    return final, sources + [Told("run.tool_call", run_id=run.id, data=asdict(call)) for call in calls]


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
    if message is None:
        return 0
    called = json_bytes(message.tool_calls) if message.tool_calls else 0
    return (len(message.content.encode()) + called) // BYTES_PER_TOKEN
