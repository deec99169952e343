"""Titles made by a model: whether a chat wants one, what is asked, and giving it.

Called by `runtime.titles` after an answer. Only a title that was made from the chat's first message is ever replaced.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatkeep.domain.ids import ChatId
from chatkeep.domain.text import US, title_from
from chatkeep.domain.usage import Usage
from chatkeep.models.port import Prompt, Turn
from chatkeep.services import models
from chatkeep.services.context import System
from chatkeep.services.generating import BYTES_PER_TOKEN, StartedRun
from chatkeep.store import chats, events, messages, runs
from chatkeep.store.driver import Transaction

ANSWER_TOKENS_MAX = 24
EXCERPT_CHARACTERS_MAX = 1_000
FIRST_MAX = 20
"""Among so many messages the first one of a user is looked for, and among so many runs the first one that completed."""
WISH = (
    "Write a title of at most six words for the conversation below, in the language of the conversation. "
    "Answer with the title and nothing else."
)
_ORNAMENTS = " \"'`*#_“”„‟‘’‚«»‹›「」『』"


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked for a title, and the made one (`before`) that it shall replace; `tokens_max` with the answer."""

    before: str
    prompt: Prompt
    tokens_max: int


async def wanted(started: StartedRun, answer: str, *, under_way: int) -> Asking | None:
    """What to ask after a chat's first completed answer; None where the title was given or changed, and where the
    tenant, for whom so many titles are `under_way`, has no room for another answer or its tokens.
    """
    system, run, route = started.system, started.run, started.route
    assert route is not None

    async def body(tx: Transaction) -> Asking | None:
        question = await _titling(tx, run.chat_id)
        if question is None:
            return None
        text = f"{WISH}\n\nUser: {_excerpt(question)}\n\nAssistant: {_excerpt(answer)}"
        tokens_max = len(text.encode()) // BYTES_PER_TOKEN + ANSWER_TOKENS_MAX
        if not await _has_room(tx, system, under_way, tokens_max):
            return None
        most = models.least(ANSWER_TOKENS_MAX, route.max_tokens)
        prompt = Prompt(route.model_name, (Turn("user", text),), most, None)
        return Asking(title_from(question), prompt, tokens_max)

    return await system.store.read(run.organisation_id, body)


async def give(started: StartedRun, asking: Asking, said: str, usage: Usage | None) -> str | None:
    """Count what was used, and give the chat the title in what the model said, unless somebody has changed it.

    Returns the title that was given.
    """
    system, run = started.system, started.run
    title = title_in(said)

    async def body(tx: Transaction) -> str | None:
        now = system.clock.now_us()
        await runs.spend(tx, asking.tokens_max if usage is None else usage.total_tokens, now=now)
        if title in ("", asking.before):
            return None
        is_given = await chats.give_title(tx, run.chat_id, title, before=asking.before, now=now)
        return title if is_given else None

    return await system.store.write(run.organisation_id, body, about=run.chat_id)


def title_in(said: str) -> str:
    """The title in a model's answer: its first line without quotes and other ornaments; empty where there is none."""
    _, thought, rest = said.rpartition("</think>")
    if not thought and "<think>" in said:
        return ""
    for line in rest.splitlines():
        plain = " ".join("".join(letter if letter.isprintable() else " " for letter in line).split())
        plain = plain.strip(_ORNAMENTS)
        if plain[:6].lower() == "title:":
            plain = plain[6:].strip(_ORNAMENTS)
        if any(map(str.isalnum, plain)):
            return title_from(plain.removesuffix("."))
    return ""


async def _titling(tx: Transaction, chat_id: ChatId) -> str | None:
    """The first message, where the chat's title was made from it and one answer is complete."""
    chat = await chats.get(tx, chat_id)
    if chat is None or chat.title is None:
        return None
    newest = await runs.of_chat(tx, chat_id, before_id=runs.NEWEST, limit=FIRST_MAX)
    if len(newest) == FIRST_MAX or sum(run.state == "completed" for run in newest) != 1:
        return None
    (created,) = await events.after(tx, chat.organisation_id, chat_id, 0, 1)
    if created.chat is None or created.chat.get("title") is not None:
        return None
    first = await messages.after(tx, chat_id, 0, FIRST_MAX)
    question = next((message.content for message in first if message.role == "user"), None)
    return question if question is not None and title_from(question) == chat.title else None


async def _has_room(tx: Transaction, system: System, under_way: int, tokens_max: int) -> bool:
    limits = system.limits
    running, reserved = await runs.running_count(tx)
    if running + under_way >= limits.runs_per_organisation_max:
        return False
    budget = limits.tokens_per_organisation_max
    if budget is None:
        return True
    began, used = await runs.budget(tx)
    is_over = system.clock.now_us() - began >= int(limits.tokens_window_s * US)
    return (0 if is_over else used) + reserved + tokens_max <= budget


def _excerpt(text: str) -> str:
    return text[:EXCERPT_CHARACTERS_MAX]
