"""Examining the whole store: what must be true in every chat, and where it is not. For the operator, not for clients.

Everything is read in one snapshot, so it may be run beside a server that is at work, and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from chatkeep.domain.text import US
from chatkeep.services.context import System
from chatkeep.store.driver import Row, Transaction

FINDINGS_MAX = 1_000
"""Told of each rule; a store that breaks a rule more often is told no more by telling more."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What must be true: what it is about, the statement that finds where it is not, and the sentence for that."""

    check: str
    statement: str
    sentence: str


RULES = (
    Rule("counters", "system_check_message_count", "message_count is {}, the current path has {}"),
    Rule("counters", "system_check_documents_count", "documents_count is {}, the chat has {}"),
    Rule("counters", "system_check_last_message_at", "last_message_at is {}, the last message is of {}"),
    Rule("counters", "system_check_last_seq", "last_seq is {}, the chat has {} messages and the last is {}"),
    Rule("counters", "system_check_turn_numbers", "turn_number of message {} is {}, its path has {}"),
    Rule("heads", "system_check_heads", "current_message_id is {}, and there is no such message"),
    Rule("trees", "system_check_trees", "message {} has the parent {}, which does not come before it"),
    Rule(
        "sequences",
        "system_check_sequences",
        "version is {} and folded_to {}, but {} events come after that and the last is {}",
    ),
    Rule("sequences", "system_check_named_messages", "event {} names message {}, which is not there"),
    Rule("runs", "system_check_run_ends", "run {} is {}, but {} events end it as such in its place"),
    Rule("runs", "system_check_run_events", "event {} ({}) is outside its run {}"),
    Rule("leases", "system_check_leases", "run {} is held by {}, whose lease ran out two lease times ago"),
    Rule("states", "system_check_generating_chats", "the chat is generating, but no run is running"),
    Rule("states", "system_check_running_runs", "run {} is running, but the chat is not generating"),
    Rule("states", "system_check_generating_messages", "message {} is generating, but no run is at it"),
    Rule("references", "system_check_references", "rows of {} name rows of {} that are not there: {}"),
    Rule("file", "system_check_file", "{}"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be. `organisation_id` and `chat_id` are None where it is about the whole file."""

    organisation_id: str | None
    chat_id: str | None
    sentence: str


async def examine(system: System) -> dict[str, list[Finding]]:
    """The findings by check, in the order of `RULES`; a check without any is sound.

    Raises `StoreRefused` for a file that is too damaged to be read.
    """
    # A lease is renewed for one lease time from then on; when it ran out one ago, its holder was last heard of two ago.
    lease_before = system.clock.now_us() - int(system.limits.lease_s * US)

    async def body(tx: Transaction) -> dict[str, list[Finding]]:
        await tx.one("system_check_begin")
        found: dict[str, list[Finding]] = {rule.check: [] for rule in RULES}
        for rule in RULES:
            rows = await tx.all(rule.statement, lease_before=lease_before, row_limit=FINDINGS_MAX)
            found[rule.check] += [_finding(rule, row) for row in rows]
        return found

    return await system.store.read(None, body)


def _finding(rule: Rule, row: Row) -> Finding:
    organisation_id, chat_id, *details = row
    return Finding(organisation_id, chat_id, rule.sentence.format(*details))
