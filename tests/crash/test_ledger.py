"""The judge of the kills sees what it is there to see: each breach, made by hand, is found and called by its name."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest

from tests.crash.ledger import Append, Ledger, examine
from tests.upstream import ScriptedUpstream
from tests.world import FakeClock, open_world

MESSAGES, CHATS = 12, 2

BREACHES = {
    "a lost write": ("DELETE FROM messages WHERE id = :id", "lost"),
    "a lost write and counters that hide it": (
        "DELETE FROM messages WHERE seq = 12 AND chat_id = :chat_id;"
        "UPDATE chats SET last_seq = 11, message_count = 11, last_message_at = (SELECT created_at FROM messages m"
        " WHERE m.chat_id = chats.id AND seq = 11), current_message_id = (SELECT id FROM messages m"
        " WHERE m.chat_id = chats.id AND seq = 11) WHERE id = :chat_id",
        "lost",
    ),
    "a changed text": ("UPDATE messages SET content = 'something else' WHERE id = :id", "changed"),
    "a changed place": ("UPDATE messages SET seq = 99 WHERE id = :id", "changed"),
    "a text that is there twice": (
        "UPDATE messages SET content = (SELECT content FROM messages WHERE id = :id)"
        " WHERE seq = 7 AND chat_id = :chat_id",
        "doubled",
    ),
    "a text that nobody said": (
        "UPDATE messages SET content = 'I never said that' WHERE id = :id",
        "made up",
    ),
    "a gap": ("UPDATE messages SET seq = seq + 1 WHERE seq = 12 AND chat_id = :chat_id", "not numbered"),
    "a broken line": ("UPDATE messages SET parent_id = 'nobody' WHERE id = :id", "does not follow"),
    "a wrong turn": ("UPDATE messages SET turn_number = 3 WHERE id = :id", "turns"),
    "a wrong count": ("UPDATE chats SET message_count = 11 WHERE id = :chat_id", "is true"),
    "a wrong number": ("UPDATE chats SET last_seq = 13 WHERE id = :chat_id", "is true"),
    "a wrong head": ("UPDATE chats SET current_message_id = :id WHERE id = :chat_id", "is true"),
    "a wrong time": ("UPDATE chats SET last_message_at = 1 WHERE id = :chat_id", "is true"),
    "a chat that never ends": (
        "UPDATE chats SET status = 'generating' WHERE id = :chat_id",
        "is being generated",
    ),
    "an error without words": (
        "UPDATE chats SET status = 'error' WHERE id = :chat_id",
        "without text or time",
    ),
    "a run that never ends": (
        "INSERT INTO runs (organisation_id, id, chat_id, principal_id, question_id, answer_id, model_id, wish, state,"
        " first_seq, lease_until, started_at) SELECT organisation_id, 'run', id, 'p', 'question', 'answer', 'model',"
        " '{}', 'running', 1, 1, 1"
        " FROM chats WHERE id = :chat_id",
        "without an end",
    ),
    "a request that never ends": (
        "INSERT INTO idempotency SELECT organisation_id, 'p', 'r', 'k', NULL, x'', NULL, NULL, '{}', 1"
        " FROM chats LIMIT 1",
        "waits",
    ),
    "a message without its chat": ("DELETE FROM chats WHERE id = :chat_id", "refers to nothing"),
}


@dataclass(frozen=True)
class Told:
    """A folder that was closed in order, and what its clients were told."""

    database: Path
    ledger: Ledger
    chat_id: str
    message_id: str


@pytest.fixture
async def told(tmp_path: Path) -> Told:
    ledger = Ledger()
    async with ScriptedUpstream() as upstream, open_world(tmp_path / "data", FakeClock(), upstream) as world:
        for _ in range(CHATS):
            chat = await world.native("POST", "/chats", title="a chat")
            for number in range(MESSAGES):
                append = Append(chat["id"], "", f"text {number}")
                body = [{"role": "user", "content": append.text}]
                answer = await world.native("POST", f"/chats/{chat['id']}/messages", messages=body)
                ledger.acknowledge(append, answer["items"][0]["id"], answer["items"][0]["seq"])
    appends = {told.message_id: append for append, told in ledger.answered.items() if told.seq == 5}
    (message,) = (each for each, append in appends.items() if append.chat_id == chat["id"])
    return Told(tmp_path / "data" / "chatkeep.db", ledger, chat["id"], message)


async def test_what_was_kept_is_in_order(told: Told) -> None:
    assert examine(told.database, told.ledger) == []


async def test_a_request_whose_fate_is_open_may_have_happened_or_not(told: Told) -> None:
    told.ledger.open.add(Append(told.chat_id, "", "never arrived"))
    arrived = next(append for append in told.ledger.answered if append.chat_id == told.chat_id)
    del told.ledger.answered[arrived]
    told.ledger.open.add(arrived)
    assert examine(told.database, told.ledger) == []


async def test_every_breach_is_found(told: Told, tmp_path: Path) -> None:
    for name, (sql, said) in BREACHES.items():
        copy = tmp_path / "copy.db"
        shutil.copy(told.database, copy)
        connection = apsw.Connection(str(copy))
        bindings = {"id": told.message_id, "chat_id": told.chat_id}
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(sql, bindings)
        connection.close()
        found = examine(copy, told.ledger)
        assert any(said in each for each in found), f"{name}: {found}"


async def test_a_damaged_page_is_found(told: Told) -> None:
    pages = bytearray(told.database.read_bytes())
    at = pages.index(b"text 5")
    page = at - at % 8192
    pages[page + 8 : page + 40] = bytes(32)  # the head of the page and the places of its cells
    told.database.write_bytes(pages)
    assert examine(told.database, told.ledger)
