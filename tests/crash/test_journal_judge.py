"""The judge of journals sees what it is there to see: each breach, made by hand, is found and called by its name."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.crash.journal_judge import against, examine_journals, journal
from tests.crash.storyteller import Storyteller, question
from tests.journal_reader import Reader
from tests.world import FakeClock, open_world

BREACHES = {
    "a lost event": ("DELETE FROM events WHERE seq = 3 AND chat_id = :chat_id", "not whole"),
    "a lost head": ("UPDATE chats SET version = version + 1 WHERE id = :chat_id", "not whole"),
    "an event too many": ("UPDATE chats SET version = version - 1 WHERE id = :chat_id", "not whole"),
    "a lost beginning": ("DELETE FROM events WHERE seq = 1 AND chat_id = :chat_id", "does not go up from 1"),
    "a lost start": ("DELETE FROM events WHERE kind = 'run.started' AND run_id = :run_id", "does not begin"),
    "a run without an end": (
        "UPDATE events SET kind = 'chat.updated' WHERE seq = :last_seq",
        "its ends are []",
    ),
    "a run with two ends": (
        "UPDATE events SET kind = 'run.failed' WHERE seq = :last_seq - 1",
        "its ends are",
    ),
    "another end than the run's": ("UPDATE runs SET state = 'stopped' WHERE id = :run_id", "its ends are"),
    "a run that is still running": (
        "UPDATE runs SET state = 'running', last_seq = NULL WHERE id = :run_id",
        "is running at None",
    ),
    "a word after the end": (
        "UPDATE chats SET version = version + 1 WHERE id = :chat_id;"
        "INSERT INTO events SELECT organisation_id, chat_id, (SELECT version FROM chats WHERE id = :chat_id), at,"
        " 'run.delta', :run_id, NULL, 'more', NULL FROM events WHERE seq = 1 AND chat_id = :chat_id",
        "went on after its end",
    ),
    "an event of nobody's": ("UPDATE events SET run_id = 'nobody' WHERE seq = :last_seq", "unknown run"),
    "a stop that became an error": (
        "UPDATE runs SET state = 'failed', stop_requested_at = 1 WHERE id = :run_id",
        "was asked to stop",
    ),
    "a lost word": (
        "UPDATE events SET text = substr(text, 3) WHERE kind = 'run.delta' AND run_id = :run_id",
        "its pieces are",
    ),
    "another text": ("UPDATE messages SET content = 'never said' WHERE role = 'assistant'", "its pieces are"),
    "a source that nobody told of": (
        "UPDATE messages SET sources = json_insert(sources, '$[#]', json('{\"url\": \"https://x.example\"}'))",
        "has the sources",
    ),
    "a source twice": (
        "UPDATE messages SET sources = json_insert(sources, '$[#]', sources -> 0);"
        "UPDATE events SET data = json_set(data, '$.data.url', 'x') WHERE kind = 'run.source'",
        "has the sources",
    ),
    "a lost call": ("UPDATE messages SET tool_calls = NULL", "has the calls"),
    "an answer that never ends": (
        "UPDATE messages SET status = 'generating' WHERE role = 'assistant'",
        "still grows",
    ),
}


@dataclass(frozen=True)
class Told:
    """A folder that was closed in order, a run in it, and one who read all of it."""

    database: Path
    values: dict[str, Any]
    reader: Reader


@pytest.fixture
async def told(tmp_path: Path) -> Told:
    async with Storyteller() as upstream, open_world(tmp_path / "data", FakeClock(), upstream) as world:
        chat_id = (await world.native("POST", "/chats", title="A chat"))["id"]
        run = await world.native("POST", f"/chats/{chat_id}/generate", message=question(12, "apples"))
        events = (await world.native("GET", f"/chats/{chat_id}/events?after=0&wait_s=0"))["items"]
    reader = Reader(chat_id)
    for event in events:
        reader.take(event)
    values = {"chat_id": chat_id, "run_id": run["run_id"], "last_seq": len(events)}
    return Told(tmp_path / "data" / "chatkeep.db", values, reader)


async def test_a_whole_journal_is_in_order(told: Told) -> None:
    assert examine_journals(told.database) == []
    assert against(told.reader, journal(told.database, told.reader.chat_id)) == []
    assert told.reader.breaches == []


async def test_every_breach_is_found(told: Told, tmp_path: Path) -> None:
    for name, (sql, said) in BREACHES.items():
        copy = tmp_path / "copy.db"
        shutil.copy(told.database, copy)
        connection = apsw.Connection(str(copy))
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(sql, told.values)
        connection.close()
        found = examine_journals(copy)
        assert any(said in each for each in found), f"{name}: {found}"


async def test_what_a_reader_missed_or_made_up_is_found(told: Told) -> None:
    lines, reader = journal(told.database, told.reader.chat_id), told.reader
    missed = Reader(reader.chat_id, seen=[event for event in reader.seen if event["seq"] != 3])
    other = Reader(reader.chat_id, seen=[{**event, "run_id": "other"} for event in reader.seen])
    more = Reader(reader.chat_id, seen=[*reader.seen, {**reader.seen[0], "seq": 1000}])
    for reading, said in ((missed, "never saw 3"), (other, "not"), (more, "saw 1000")):
        assert any(said in each for each in against(reading, lines))
    reader.take(reader.seen[-1])
    assert len(reader.breaches) == 1
