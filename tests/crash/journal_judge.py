"""The judgement of journals and runs in a database, by SQL of its own; it asks no code of chatkeep.

`examine_journals` returns every breach as a sentence. It is for a server that has settled: no run may be under way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apsw

from tests.crash.place import Place, opened
from tests.journal_reader import Reader

ENDS = {"run.completed": "completed", "run.stopped": "stopped", "run.failed": "failed"}


@dataclass(frozen=True, slots=True)
class Line:
    """One event as it is kept."""

    seq: int
    kind: str
    run_id: str | None
    text: str | None


def journal(place: Place, chat_id: str) -> list[Line]:
    """All that is kept of a chat's journal, in order."""
    connection = opened(place)
    try:
        return _lines(connection).get(chat_id, [])
    finally:
        connection.close()


def against(reader: Reader, lines: list[Line]) -> list[str]:
    """Where what a reader saw is not the journal; what a snapshot spared him may be gone, or is in its text."""
    kept = {line.seq: (line.kind, line.run_id, line.text) for line in lines}
    seen: dict[int, tuple[str, str | None, str | None]] = {}
    spared: set[int] = set()
    before = 0
    for event in reader.seen:
        if event["type"] == "snapshot":
            spared.update(range(before + 1, event["seq"] + 1))
        else:
            seen[event["seq"]] = (event["type"], event.get("run_id"), event.get("text"))
        before = event["seq"]
    found = [f"never saw {seq}: {kept[seq]}" for seq in kept if seq not in seen and seq not in spared]
    first_gone = [seq for seq in seen if seq not in kept and seen[seq][2] is None]
    found += [f"saw {seq}, which is not there: {seen[seq]}" for seq in first_gone]
    found += [
        f"saw {seen[seq]} at {seq}, not {kept[seq]}" for seq in seen if seq in kept and seen[seq] != kept[seq]
    ]
    return found


def examine_journals(place: Place) -> list[str]:
    """Every way in which journals and runs are not as chatkeep promises."""
    connection = opened(place)
    try:
        connection.execute("BEGIN")
        lines = _lines(connection)
        return [
            *_numbers(connection, lines),
            *_runs(connection, lines),
            *_texts(connection, lines),
            *_named(connection),
        ]
    finally:
        connection.close()


def _lines(connection: apsw.Connection) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    query = "SELECT chat_id, seq, kind, run_id, text FROM events ORDER BY chat_id, seq"
    for chat_id, *rest in connection.execute(query):
        found.setdefault(str(chat_id), []).append(Line(*rest))
    return found


def _numbers(connection: apsw.Connection, lines: dict[str, list[Line]]) -> Iterator[str]:
    chats: list[Any] = connection.execute("SELECT id, version, folded_to FROM chats").fetchall()
    for chat_id, version, folded_to in chats:
        seqs = [line.seq for line in lines.get(str(chat_id), [])]
        if [seq for seq in seqs if seq > folded_to] != list(range(folded_to + 1, version + 1)):
            yield f"{chat_id}: its journal is not whole from {folded_to + 1} to {version}: {seqs[-20:]}"
        if seqs and (seqs[0] != 1 or seqs != sorted(set(seqs))):
            yield f"{chat_id}: its journal does not go up from 1: {seqs[:20]}"


def _runs(connection: apsw.Connection, lines: dict[str, list[Line]]) -> Iterator[str]:
    runs: dict[str, tuple[Any, ...]] = {
        str(run_id): tuple(rest)
        for run_id, *rest in connection.execute(
            "SELECT id, chat_id, state, first_seq, last_seq, stop_requested_at, epoch FROM runs"
        )
    }
    own: dict[str, list[Line]] = {run_id: [] for run_id in runs}
    for chat_id, events in lines.items():
        for event in events:
            if event.run_id is None:
                continue
            if event.run_id not in runs or runs[event.run_id][0] != chat_id:
                yield f"{chat_id}: event {event.seq} is of the unknown run {event.run_id}"
            else:
                own[event.run_id].append(event)
    for run_id, (chat_id, state, first_seq, last_seq, stop_requested_at, epoch) in runs.items():
        events = own[run_id]
        if [event.seq for event in events if event.kind == "run.started"] != [first_seq]:
            yield f"{chat_id}: run {run_id} does not begin at {first_seq}, once"
        ends = [(event.seq, ENDS[event.kind]) for event in events if event.kind in ENDS]
        if ends != [(last_seq, state)]:
            yield f"{chat_id}: run {run_id} is {state} at {last_seq}, and its ends are {ends}"
        if events and events[-1].kind not in ENDS:
            yield f"{chat_id}: run {run_id} went on after its end"
        if stop_requested_at is not None and state == "failed":
            yield f"{chat_id}: run {run_id} was asked to stop and has failed, in epoch {epoch}"


def _texts(connection: apsw.Connection, lines: dict[str, list[Line]]) -> Iterator[str]:
    query = "SELECT chat_id, answer_id, id, is_folded FROM runs ORDER BY chat_id, first_seq"
    answers: dict[tuple[str, str], list[str]] = {}
    folded = set()
    for chat_id, answer_id, run_id, is_folded in connection.execute(query).fetchall():
        answers.setdefault((str(chat_id), str(answer_id)), []).append(str(run_id))
        if is_folded:
            folded.add((chat_id, answer_id))
    said: dict[str, str] = {}
    for events in lines.values():
        for event in events:
            if event.kind == "run.delta":
                said[str(event.run_id)] = said.get(str(event.run_id), "") + str(event.text)
    texts = {
        (chat_id, message_id): (content, status)
        for chat_id, message_id, content, status in connection.execute(
            "SELECT chat_id, id, content, status FROM messages"
        )
    }
    for place, run_ids in answers.items():
        whole = "".join(said.get(run_id, "") for run_id in run_ids)
        content, status = texts.get(place, ("", None))
        if place not in folded and content != whole:
            yield f"{place[0]}: the answer {place[1]} is {content!r}, and its pieces are {whole!r}"
        if status == "generating":
            yield f"{place[0]}: the answer {place[1]} still grows"


def _named(connection: apsw.Connection) -> Iterator[str]:
    """Pages and calls of tools are with the answer and in the journal, the same ones in the same order."""
    query = """
        SELECT r.chat_id, r.answer_id, e.kind, e.data -> 'data' FROM runs r
        JOIN events e ON e.organisation_id = r.organisation_id AND e.chat_id = r.chat_id AND e.run_id = r.id
        WHERE e.kind IN ('run.source', 'run.tool_call') ORDER BY r.chat_id, e.seq"""
    told: dict[tuple[str, str], dict[str, list[Any]]] = {}
    for chat_id, answer_id, kind, data in connection.execute(query):
        told.setdefault((str(chat_id), str(answer_id)), {}).setdefault(str(kind), []).append(json.loads(data))
    query = "SELECT chat_id, id, sources, tool_calls FROM messages WHERE id IN (SELECT answer_id FROM runs)"
    for chat_id, answer_id, sources, calls in connection.execute(query):
        of_answer = told.get((str(chat_id), str(answer_id)), {})
        pages = json.loads(sources or "[]")
        if pages != of_answer.get("run.source", []) or len({page["url"] for page in pages}) < len(pages):
            yield f"{chat_id}: the answer {answer_id} has the sources {pages}, and was told {of_answer}"
        plain = [{"id": call["id"], **call["function"]} for call in json.loads(calls or "[]")]
        if plain != of_answer.get("run.tool_call", []):
            yield f"{chat_id}: the answer {answer_id} has the calls {plain}, and was told {of_answer}"
