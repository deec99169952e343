"""What a model is asked: the prompts, then as much of the conversation as it can take, with tools and their results.

Called by the runtime. Of the newest messages nothing is left out in between; the calls of an answer and their results
go in together or not at all, because a provider refuses one without the other.
"""

from __future__ import annotations

from dataclasses import replace

from chatkeep.domain.chat import ChatThread
from chatkeep.domain.errors import LeaseLost
from chatkeep.domain.message import Message, calls_in, path_to
from chatkeep.models.port import Prompt, Turn
from chatkeep.services import models
from chatkeep.services.generating import BYTES_PER_TOKEN, StartedRun
from chatkeep.services.models import Route
from chatkeep.services.wishes import Wish
from chatkeep.store import chats, documents, messages
from chatkeep.store.driver import Transaction
from chatkeep.store.rows import json_bytes

INPUT_TOKENS_MIN = 64


async def prompt(started: StartedRun) -> Prompt:
    """What the model is asked: prompts and documents first, then as much of the path to the question as fits.

    An answer that is begun already goes last, for the model to continue. Raises `LeaseLost` when the chat is gone.
    """
    run, route, wish = started.run, started.route, started.wish
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
    if route.supports_tools is False:
        path = [message for message in path if message.role != "tool"]
    return Prompt(
        route.model_name,
        fit([text for text in heads if text], path, _tokens_for_input(wish, route)),
        _tokens_for_answer(wish, route),
        wish.temperature,
        tuple(wish.tools or ()),
        wish.tool_choice,
    )


def fit(heads: list[str], path: list[Message], tokens_max: int) -> tuple[Turn, ...]:
    """The system texts as one turn, then the newest messages that fit by a careful guess of three bytes a token.

    The last message always goes in, cut at its end if it alone is too long, or at its beginning where it is an answer
    to be continued; so do the last calls with their results, of which then each is cut.
    """
    room = tokens_max * BYTES_PER_TOKEN
    head = _cut("\n\n".join(heads), room // 2)
    room -= len(head.encode())
    chosen: list[tuple[Turn, ...]] = []
    for step in reversed(_steps(path)):
        size = sum(map(_size, step))
        if size > room:
            if chosen:
                break
            step = _cut_step(step, room)
        chosen.append(step)
        room -= size
    spoken = tuple(turn for step in reversed(chosen) for turn in step)
    return (Turn("system", head), *spoken) if head else spoken


def _steps(path: list[Message]) -> list[tuple[Turn, ...]]:
    """The turns of the path that belong together: one message, or calls with all their results."""
    steps: list[tuple[Turn, ...]] = []
    before: Message | None = None
    results: list[Message] = []
    for message in path:
        if message.role == "tool":
            results.append(message)
        else:
            steps.append(_step(before, results))
            before, results = message, []
    steps.append(_step(before, results))
    return [step for step in steps if step]


def _step(message: Message | None, results: list[Message]) -> tuple[Turn, ...]:
    if message is None:
        return ()
    calls = calls_in(message)
    given = {str(result.tool_call_id): result.content for result in results}
    names = [str(call["id"]) for call in calls]
    if names and given.keys() >= set(names):
        said = Turn(message.role, message.content, tuple(calls))
        return (said, *(Turn("tool", given[name], tool_call_id=name) for name in names))
    return (Turn(message.role, message.content),) if message.content else ()


def _cut_step(step: tuple[Turn, ...], room: int) -> tuple[Turn, ...]:
    """Cut the longest texts until all of them fit."""
    room -= sum(_size(turn) - len(turn.content.encode()) for turn in step)
    cut = list(step)
    order = sorted(range(len(step)), key=lambda position: _size(step[position]))
    for left, position in zip(range(len(step), 0, -1), order, strict=True):
        cut_off = _cut_front if step[position].role == "assistant" else _cut
        content = cut_off(step[position].content, max(room, 0) // left)
        cut[position] = replace(step[position], content=content)
        room -= len(content.encode())
    return tuple(cut)


def _size(turn: Turn) -> int:
    return len(turn.content.encode()) + (json_bytes(turn.tool_calls) if turn.tool_calls else 0)


def _cut(text: str, bytes_max: int) -> str:
    raw = text.encode()
    return text if len(raw) <= bytes_max else raw[:bytes_max].decode(errors="ignore")


def _cut_front(text: str, bytes_max: int) -> str:
    raw = text.encode()
    return text if len(raw) <= bytes_max else raw[len(raw) - bytes_max :].decode(errors="ignore")


def _tokens_for_input(wish: Wish, route: Route) -> int:
    window = route.context_window
    reserved = min(_tokens_for_answer(wish, route) or window // 4, window // 2)
    offered = json_bytes(wish.tools) // BYTES_PER_TOKEN if wish.tools else 0
    return max(window - reserved - offered, INPUT_TOKENS_MIN)


def _tokens_for_answer(wish: Wish, route: Route) -> int | None:
    return models.least(wish.max_tokens, route.max_tokens)
