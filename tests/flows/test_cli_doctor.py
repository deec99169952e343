"""`chatkeep doctor` and `chatkeep sweep`: a sound folder is said to be sound, and whatever is broken in it is found."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any

import apsw
import pytest

from chatkeep import wiring
from chatkeep.domain.text import US
from chatkeep.ports import SystemClock
from chatkeep.services.doctor import RULES
from tests.flows.command_line import Done, invoke, run
from tests.flows.office import idle
from tests.upstream import DONE, Raw, Script, ScriptedUpstream, finish_event, text_event
from tests.world import FakeClock, World, open_world

pytestmark = pytest.mark.sqlite

ELSEWHERE = "chat_id = 'talk'"
# Each breaks what one rule is about: statement of the rule -> (SQL, what is said about it).
BREAKS = {
    "system_check_message_count": (
        f"UPDATE chats SET message_count = 9 WHERE {ELSEWHERE.replace('chat_id', 'id')}",
        "message_count is 9, the current path has 4",
    ),
    "system_check_documents_count": (
        "UPDATE chats SET documents_count = 0 WHERE id = 'talk'",
        "documents_count is 0, the chat has 1",
    ),
    "system_check_last_message_at": (
        "UPDATE chats SET last_message_at = 5 WHERE id = 'talk'",
        "last_message_at is 5, the last message is of ",
    ),
    "system_check_last_seq": (
        f"DELETE FROM messages WHERE {ELSEWHERE} AND seq = 2",
        "last_seq is 5, the chat has 4 messages and the last is 5",
    ),
    "system_check_turn_numbers": (
        f"UPDATE messages SET turn_number = 7 WHERE {ELSEWHERE} AND id = 'a1'",
        "turn_number of message a1 is 7, its path has 2",
    ),
    "system_check_heads": (
        "UPDATE chats SET current_message_id = 'nowhere' WHERE id = 'talk'",
        "current_message_id is nowhere, and there is no such message",
    ),
    "system_check_trees": (
        f"UPDATE messages SET parent_id = 'a2' WHERE {ELSEWHERE} AND id = 'a1'",
        "message a1 has the parent a2, which does not come before it",
    ),
    "system_check_sequences": (
        f"DELETE FROM events WHERE {ELSEWHERE} AND seq = 3",
        " and folded_to 0, but ",
    ),
    "system_check_named_messages": (
        f"UPDATE events SET message_seq = 99 WHERE {ELSEWHERE} AND seq = 2",
        "event 2 names message 99, which is not there",
    ),
    "system_check_run_ends": (
        "UPDATE runs SET state = 'failed' WHERE state = 'completed' AND chat_id = 'talk'",
        " is failed, but 1 events end it as such in its place",
    ),
    "system_check_run_events": (
        f"UPDATE events SET run_id = 'nobody' WHERE {ELSEWHERE} AND kind = 'run.delta'",
        "(run.delta) is outside its run nobody",
    ),
    "system_check_leases": (
        "UPDATE runs SET state = 'running', holder = 'dead', lease_until = 5 WHERE chat_id = 'talk'",
        " is held by dead, whose lease ran out two lease times ago",
    ),
    "system_check_generating_chats": (
        "UPDATE chats SET status = 'generating' WHERE id = 'talk'",
        "the chat is generating, but no run is running",
    ),
    "system_check_running_runs": (
        "UPDATE runs SET state = 'running' WHERE chat_id = 'talk'",
        " is running, but the chat is not generating",
    ),
    "system_check_generating_messages": (
        f"UPDATE messages SET status = 'generating' WHERE {ELSEWHERE} AND id = 'a1'",
        "message a1 is generating, but no run is at it",
    ),
    "system_check_references": (
        "INSERT INTO chat_tags VALUES ('nobody', 'nowhere', 'tag', 'Tag', 0)",
        "rows of chat_tags name rows of chats that are not there: 1",
    ),
    "system_check_file": ("", "missing from index messages_by_id"),
}


async def furnish(world: World) -> None:
    """A chat with a branch, a document and an answer, one with half an answer, a deleted one, and one to expire."""
    said = [
        {"id": "q1", "role": "user", "content": "One"},
        {"id": "a1", "role": "assistant", "content": "Two"},
        {"id": "a2", "role": "assistant", "content": "Three", "parent_id": "q1"},
    ]
    await world.native("POST", "/chats", id="talk", title="Talk", messages=said)
    await world.native("POST", "/chats/talk/documents", filename="a.txt", text="A")
    await world.native("POST", "/chats/talk/generate", message="Hello")
    world.upstream.play(Script(["Half"], failure="error_chunk"))
    await world.native("POST", "/chats", id="broken")
    answered = await world.client.post(
        "/chatkeep/v1/chats/broken/generate", headers=world.owner.bearer, json={"message": "Hello"}
    )
    assert answered.json()["code"] == "provider_failed"
    await world.native("POST", "/chats", id="gone", title="Gone", messages=said)
    await world.native("DELETE", "/chats/gone")
    await world.native("POST", "/chats", id="brief", ttl_s=60)
    await idle(world)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a bit of everything, which nobody changes."""
    folder = tmp_path_factory.mktemp("sound") / "data"

    async def make() -> None:
        async with ScriptedUpstream() as upstream, open_world(folder, FakeClock(), upstream) as world:
            await furnish(world)

    asyncio.run(make())
    return folder


@pytest.fixture
def data(furnished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(furnished, tmp_path / "data"))


def examined(data: Path) -> tuple[Done, dict[str, list[dict[str, Any]]]]:
    done = invoke("doctor", "--json", "--data", str(data), local_model="false")
    told = json.loads(done.out)
    assert told["is_sound"] == (done.code == 0)
    return done, told["checks"]


def break_in(data: Path, sql: str) -> None:
    connection = apsw.Connection(str(data / wiring.DATABASE))
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(sql)
    assert connection.changes(), "it broke nothing"
    connection.close()


def test_a_sound_folder_is_sound(data: Path) -> None:
    done = invoke("doctor", "--data", str(data), local_model="false")
    assert (done.code, done.err) == (0, "")
    head, *lines = done.out.splitlines()
    assert head == "check\tresult\torganisation\tchat\tfinding"
    assert lines == [f"{check}\tsound\t-\t-\t-" for check in dict.fromkeys(rule.check for rule in RULES)]


@pytest.mark.parametrize("rule", RULES, ids=[rule.statement for rule in RULES])
def test_what_is_broken_is_found(data: Path, rule: Any) -> None:
    sql, sentence = BREAKS[rule.statement]
    if sql:
        break_in(data, sql)
    else:
        damage_index(data / wiring.DATABASE)
    done, checks = examined(data)
    assert done.code == 1
    assert [each for each in checks[rule.check] if sentence in each["sentence"]], checks
    shown = invoke("doctor", "--data", str(data), local_model="false")
    assert (shown.code, sentence in shown.out) == (1, True)


def test_a_chat_is_named_by_its_organisation_and_id(data: Path) -> None:
    break_in(data, "UPDATE chats SET documents_count = 3 WHERE id = 'gone'")
    _, checks = examined(data)
    (finding,) = checks["counters"]
    assert finding["chat_id"] == "gone"
    assert finding["organisation_id"]


def damage_index(path: Path) -> None:
    """Have an entry of an index name another message than the table."""
    connection = apsw.Connection(str(path))
    query = "SELECT rootpage FROM sqlite_schema WHERE name = 'messages_by_id'"
    page: Any = connection.execute(query).get
    size: Any = connection.execute("PRAGMA page_size").get
    connection.close()
    raw = bytearray(path.read_bytes())
    begin, end = (page - 1) * size, page * size
    at = raw.index(b"talka2", begin, end)
    raw[at + 5 : at + 6] = b"9"
    path.write_bytes(raw)


def test_more_findings_than_one_reads_are_counted(data: Path) -> None:
    break_in(data, "UPDATE messages SET turn_number = turn_number + 5 WHERE parent_id IS NULL")
    connection = apsw.Connection(str(data / wiring.DATABASE))
    many_sql = """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30)
        INSERT INTO messages (organisation_id, chat_id, seq, id, role, content, turn_number, created_at, status)
        SELECT organisation_id, id, 100 + i, 'm' || i, 'user', '', 5, 1, 'complete' FROM chats, n WHERE id = 'talk'
    """
    connection.execute(many_sql)
    connection.close()
    done = invoke("doctor", "--data", str(data), local_model="false")
    lines = [line for line in done.out.splitlines() if line.startswith("counters\t")]
    assert len(lines) == 21
    assert lines[-1].startswith("counters\twrong\t-\t-\tand ")


def test_what_cannot_be_opened_is_another_exit_code(tmp_path: Path) -> None:
    done = invoke("doctor", "--data", str(tmp_path / "none"))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    (tmp_path / wiring.DATABASE).write_bytes(b"no database at all" * 1000)
    done = invoke("doctor", "--data", str(tmp_path), local_model="false")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)


async def test_beside_a_server_that_generates_all_is_sound(world: World, tmp_path: Path) -> None:
    await furnish(world)
    world.clock.advance(
        (SystemClock().now_us() - world.clock.now_us()) / US
    )  # leases are looked at with a real one
    world.upstream.play(Raw([text_event("Be"), None, text_event("gun"), finish_event(), DONE]))
    asking = asyncio.create_task(world.native("POST", "/chats/talk/generate", message="Go on"))
    for _ in range(2000):
        if (await world.native("GET", "/chats/talk"))["messages"][-1]["content"] == "Be":
            break
        await asyncio.sleep(0.01)
    try:
        done = await run("doctor", "--json", "--data", str(tmp_path / "data"), local_model="false")
    finally:
        world.upstream.go_on()
        await asking
    assert json.loads(done.out)["is_sound"], done.out


def test_a_hundred_thousand_messages_are_examined_quickly(data: Path) -> None:
    connection = apsw.Connection(str(data / wiring.DATABASE))
    for sql in filling(100_000):
        connection.execute(sql)
    connection.close()
    began = time.monotonic()
    _, checks = examined(data)
    took_s = time.monotonic() - began
    assert {check: len(findings) for check, findings in checks.items() if findings} == {}
    assert took_s < 30, f"{took_s:.1f} s"


def filling(count: int) -> tuple[str, ...]:
    """Statements that make a chat `long` of so many messages beside the chat `talk`."""
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
    return (
        f"""INSERT INTO chats (organisation_id, id, dialect, origin, visibility, session_state, current_message_id,
                               last_seq, message_count, last_message_at, created_at, updated_at, version)
            SELECT organisation_id, 'long', dialect, origin, visibility, session_state, 'm{count}', {count}, {count}, 1,
                   1, 1, {count + 1}
            FROM chats WHERE id = 'talk'""",
        f"""{numbers}
            INSERT INTO messages (organisation_id, chat_id, seq, id, parent_id, role, content, turn_number, created_at,
                                  status)
            SELECT organisation_id, id, i, 'm' || i, CASE i WHEN 1 THEN NULL ELSE 'm' || (i - 1) END,
                   CASE i % 2 WHEN 0 THEN 'assistant' ELSE 'user' END,
                   'A sentence of some length, as people say them.', i, 1, 'complete'
            FROM chats, n WHERE id = 'long'""",
        """INSERT INTO events (organisation_id, chat_id, seq, at, kind)
           SELECT organisation_id, id, 1, 1, 'chat.created' FROM chats WHERE id = 'long'""",
        """INSERT INTO events (organisation_id, chat_id, seq, at, kind, message_seq)
           SELECT organisation_id, chat_id, seq + 1, 1, 'message.created', seq FROM messages WHERE chat_id = 'long'""",
    )


def table(done: Done) -> dict[str, int]:
    assert done.code == 0, done.err
    return {name: int(count) for name, count in (line.split("\t") for line in done.out.splitlines()[1:])}


def swept(data: Path, *options: str) -> Done:
    settings = {"purge_deleted_after_s": "60", "fold_after_s": "60"}
    return invoke("sweep", *options, "--data", str(data), local_model="false", **settings)  # type: ignore[arg-type]  # settings are never called stdin


def test_a_dry_sweep_counts_what_a_sweep_does(data: Path) -> None:
    due = swept(data, "--dry-run")
    assert due.out.startswith("what\tdue\n")
    assert table(due)["expired_chats"] == 1
    assert table(due)["deleted_chats"] == 1
    assert table(due)["folded_runs"] == 2
    assert table(swept(data, "--dry-run")) == table(due)
    done = swept(data)
    assert done.out.startswith("what\tdone\n")
    assert table(done) == table(due)
    assert set(table(swept(data)).values()) == {0}
    assert invoke("doctor", "--data", str(data), local_model="false").code == 0


def test_a_sweep_keeps_what_the_settings_keep(data: Path) -> None:
    done = table(invoke("sweep", "--data", str(data), local_model="false", fold_after_s="31536000"))
    assert (done["deleted_chats"], done["folded_runs"]) == (0, 0)
