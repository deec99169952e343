"""What clients were told, and the judgement of a database by it.

`examine` returns every breach as a sentence; an empty list means that all was kept. It reads the rows itself, by SQL of
its own, and asks no code of chatkeep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import apsw

from tests.crash.place import Place, opened


@dataclass(frozen=True, slots=True)
class Append:
    """One request: a message with a text that is unique, to a chat, under an Idempotency-Key."""

    chat_id: str
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What the server said to it."""

    message_id: str
    seq: int


@dataclass
class Ledger:
    """All requests ever sent: those that were answered, and those whose fate is open."""

    answered: dict[Append, Acknowledged] = field(default_factory=dict)
    open: set[Append] = field(default_factory=set)

    def acknowledge(self, append: Append, message_id: str, seq: int) -> None:
        """The server said that it is written."""
        self.open.discard(append)
        self.answered[append] = Acknowledged(message_id, seq)


def examine(place: Place, ledger: Ledger) -> list[str]:
    """Every way in which the database is not as the ledger and chatkeep's own promises say."""
    connection = opened(place)
    try:
        connection.execute("BEGIN")
        return [
            *_pages(connection),
            *_kept(connection, ledger),
            *_lines(connection),
            *_nobody_works(connection),
        ]
    except apsw.CorruptError as error:
        return [f"damaged: {error}"]
    finally:
        connection.close()


def _pages(connection: apsw.Connection) -> Iterator[str]:
    for (said,) in connection.execute("PRAGMA integrity_check").fetchall():
        if said != "ok":
            yield f"integrity: {said}"
    for row in connection.execute("PRAGMA foreign_key_check").fetchall():
        yield f"a row of {row[0]} refers to nothing in {row[2]}"


def _kept(connection: apsw.Connection, ledger: Ledger) -> Iterator[str]:
    rows = {
        (chat_id, message_id): (seq, text)
        for chat_id, message_id, seq, text in connection.execute(
            "SELECT chat_id, id, seq, content FROM messages"
        )
    }
    texts = Counter((chat_id, text) for (chat_id, _), (_, text) in rows.items())
    for append, told in ledger.answered.items():
        found = rows.get((append.chat_id, told.message_id))
        if found is None:
            yield f"lost: {append.text[:40]} was acknowledged and is not there"
        elif found != (told.seq, append.text):
            yield f"changed: {append.text[:40]} was acknowledged at {told.seq} and is {found[1][:40]} at {found[0]}"
    for append in (*ledger.answered, *ledger.open):
        if texts[append.chat_id, append.text] > 1:
            yield f"doubled: {append.text[:40]} is there {texts[append.chat_id, append.text]} times"
    said = {(append.chat_id, append.text) for append in (*ledger.answered, *ledger.open)}
    for chat_id in {append.chat_id for append in ledger.answered}:
        for text in (text for in_chat, text in texts if in_chat == chat_id and (chat_id, text) not in said):
            yield f"made up: nobody said {text[:40]}"


def _lines(connection: apsw.Connection) -> Iterator[str]:
    messages: dict[str, list[tuple[int, str, str | None, int, int]]] = {}
    query = "SELECT chat_id, seq, id, parent_id, turn_number, created_at FROM messages ORDER BY chat_id, seq"
    for chat_id, *message in connection.execute(query):
        messages.setdefault(str(chat_id), []).append(tuple(message))
    query = "SELECT id, last_seq, message_count, current_message_id, last_message_at FROM chats WHERE is_branched = 0"
    for chat_id, *told in connection.execute(query).fetchall():
        line = messages.get(str(chat_id), [])
        if [message[0] for message in line] != list(range(1, len(line) + 1)):
            yield f"{chat_id}: its messages are not numbered 1 to {len(line)}"
        if [message[2] for message in line] != [None, *(message[1] for message in line)][: len(line)]:
            yield f"{chat_id}: a message does not follow the one before it"
        if [message[3] for message in line] != list(range(1, len(line) + 1)):
            yield f"{chat_id}: its turns are not numbered 1 to {len(line)}"
        true = [len(line), len(line), line[-1][1] if line else None, line[-1][4] if line else None]
        if told != true:
            yield f"{chat_id}: the chat says {told} of its messages, and {true} is true"


def _nobody_works(connection: apsw.Connection) -> Iterator[str]:
    for (chat_id,) in connection.execute("SELECT id FROM chats WHERE status = 'generating'").fetchall():
        yield f"{chat_id}: says that an answer is being generated"
    for run_id, state in connection.execute("SELECT id, state FROM runs WHERE ended_at IS NULL").fetchall():
        yield f"run {run_id}: is {state} without an end"
    for (chat_id,) in connection.execute(
        "SELECT id FROM chats WHERE status = 'error' AND (last_error IS NULL OR last_error_at IS NULL)"
    ).fetchall():
        yield f"{chat_id}: is in error without text or time"
    for (key,) in connection.execute("SELECT key FROM idempotency WHERE status IS NULL").fetchall():
        yield f"request {key}: waits for an answer that nobody gives"
