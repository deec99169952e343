"""Every gate of scripts/gates.py is seen to fail on a small bad sample, and to leave a good one alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import gates
from gate_rules.source import Finding

# Written in two parts, or this file would break the rule it tests.
REGISTRY = "py" + "pi.org"
MIGRATION = {
    "src/chatkeep/store/migrations/0001_house.sql": """
CREATE TABLE organisations (id TEXT PRIMARY KEY NOT NULL, name TEXT) STRICT;
CREATE TABLE chats (
    organisation_id TEXT NOT NULL,
    id TEXT NOT NULL CHECK (length(id) > 0),
    PRIMARY KEY (organisation_id, id)
) WITHOUT ROWID, STRICT;
CREATE TABLE tags (organisation_id TEXT NOT NULL, chat_id TEXT NOT NULL, name TEXT NOT NULL) STRICT;
"""
}
LONG_FUNCTION = "def long():\n" + "    x = 1\n" * 60

BAD = [
    ("file-size", "bench/load.py", "x = 1\n" * 401, 401),
    ("function-size", "src/chatkeep/a.py", LONG_FUNCTION, 1),
    ("parameters", "src/chatkeep/a.py", "class A:\n    def f(self, a, b, c, *, d, e, f, g): ...\n", 2),
    ("parameters", "src/chatkeep/a.py", "async def f(a, b, c, d, e, *f, **g): ...\n", 1),
    ("file-name", "src/chatkeep/web/utils.py", "x = 1\n", 1),
    ("file-name", "src/chatkeep/web/json_helpers.py", "x = 1\n", 1),
    ("file-name", "src/chatkeep/common/chat.py", "x = 1\n", 1),
    ("syntax", "src/chatkeep/a.py", "def (:\n", 1),
    ("environment", "src/chatkeep/a.py", "import os\nx = os.environ['HOME']\n", 2),
    ("environment", "src/chatkeep/a.py", "from os import getenv as get\nx = get('HOME')\n", 2),
    ("clock", "src/chatkeep/a.py", "import time\n\nx = time.time()\n", 3),
    ("clock", "src/chatkeep/a.py", "from time import time_ns as now\nx = now()\n", 2),
    ("clock", "src/chatkeep/a.py", "from datetime import datetime, UTC\nx = datetime.now(UTC)\n", 2),
    ("clock", "src/chatkeep/a.py", "import datetime as dt\nx = dt.datetime.utcnow()\n", 2),
    ("clock", "src/chatkeep/a.py", "import random\nx = random.choice([1])\n", 2),
    ("clock", "src/chatkeep/a.py", "import random\nx = random.Random()\n", 2),
    ("clock", "src/chatkeep/a.py", "from secrets import token_hex\nx = token_hex()\n", 2),
    ("clock", "src/chatkeep/a.py", "import uuid\nx = field(default_factory=uuid.uuid4)\n", 2),
    ("clock", "src/chatkeep/a.py", "from uuid_utils.compat import uuid7\nx = uuid7()\n", 2),
    ("clock", "src/chatkeep/a.py", "import os\nx = os.urandom(8)\n", 2),
    ("broad-except", "src/chatkeep/a.py", "try:\n    x\nexcept Exception:\n    pass\n", 3),
    ("broad-except", "src/chatkeep/a.py", "try:\n    x\nexcept:\n    y()\n", 3),
    (
        "broad-except",
        "src/chatkeep/a.py",
        "try:\n    x\nexcept (ValueError, BaseException) as e:\n    y()\n",
        3,
    ),
    (
        "broad-except",
        "src/chatkeep/a.py",
        "for x in y:\n    try:\n        z\n    except Exception:\n        if x:\n            continue\n        raise\n",
        4,
    ),
    (
        "broad-except",
        "src/chatkeep/a.py",
        "import contextlib\nwith contextlib.suppress(Exception):\n    x\n",
        2,
    ),
    ("kept-tasks", "src/chatkeep/a.py", "import asyncio\nasyncio.create_task(f())\n", 2),
    ("kept-tasks", "src/chatkeep/a.py", "from asyncio import ensure_future\n_ = ensure_future(f())\n", 2),
    ("kept-tasks", "src/chatkeep/a.py", "import asyncio\nasyncio.get_running_loop().create_task(f())\n", 2),
    ("http-numbers", "src/chatkeep/services/a.py", "raise Refused(404)\n", 1),
    ("http-numbers", "src/chatkeep/services/a.py", "x = answer(status_code=204)\n", 1),
    (
        "http-numbers",
        "src/chatkeep/services/a.py",
        "from http import HTTPStatus\nx = HTTPStatus.CONFLICT\n",
        2,
    ),
    (
        "http-numbers",
        "src/chatkeep/services/a.py",
        "from starlette import status\nx = status.HTTP_200_OK\n",
        2,
    ),
    ("pure-domain", "src/chatkeep/domain/chat.py", "import orjson\n", 1),
    ("pure-domain", "src/chatkeep/domain/chat.py", "from typing_extensions import TypedDict\n", 1),
    ("pure-domain", "src/chatkeep/domain/chat.py", "from chatkeep.store import driver\n", 1),
    ("sql", "src/chatkeep/services/a.py", "x = 'SELECT id FROM chats'\n", 1),
    ("sql", "src/chatkeep/services/a.py", "x = f'DELETE FROM {table}'\n", 1),
    ("sql", "src/chatkeep/services/a.py", "x = '''\n  update chats set title = 1\n'''\n", 1),
    ("sql", "src/chatkeep/services/a.py", "x = 'INSERT ' + rest\n", 1),
    ("sql", "src/chatkeep/services/a.py", "x = 'BEGIN IMMEDIATE'\n", 1),
    ("sql", "src/chatkeep/store/sqlite.py", "x = 'SELECT id FROM chats'\n", 1),
    ("reasons", "bench/a.py", "x = 1  # type: ignore[misc]\n", 1),
    ("reasons", "bench/a.py", "\nx = 1  # noqa: S608\n", 2),
    ("reasons", "bench/a.py", "x = 1  # type: ignore[misc]  # noqa: S608, PLR2004 ok\n", 1),
    ("registries", "docs/install.md", f"\npip install --index-url https://{REGISTRY}/simple x\n", 2),
    ("registries", "Makefile", "x:\n\tcurl https://files.python" + "hosted.org/x\n", 2),
    (
        "tenancy",
        "src/chatkeep/store/queries/chats.sql",
        "-- name: chat_get^\nSELECT id FROM chats WHERE id = :id;\n",
        1,
    ),
    (
        "tenancy",
        "src/chatkeep/store/queries/chats.sql",
        "-- name: a!\nDELETE FROM chats WHERE organisation_id = :organisation_id;\n\n"
        "-- name: b!\n-- organisation_id is only in this comment\n"
        "UPDATE OR IGNORE chats SET title = 'organisation_id';\n",
        4,
    ),
    (
        "tenancy",
        "src/chatkeep/store/queries/chats.sql",
        "-- name: chat_tags\nSELECT t.name FROM chats c JOIN tags t ON t.chat_id = c.id\n"
        "WHERE c.organisation_id = :organisation_id;\n",
        1,
    ),
    (
        "tenancy",
        "src/chatkeep/store/queries/chats.sql",
        "-- name: system_chats_all\nSELECT id FROM chats;\n",
        1,
    ),
]

GOOD = [
    ("src/chatkeep/a.py", "x = 1\n" * 400),
    ("src/chatkeep/knowledge_base.py", "x = 1\n"),
    ("src/chatkeep/cli/serve.py", "@app.command()\ndef serve(a, b, c, d, e, f, g): ...\n"),
    ("src/chatkeep/config.py", "import os\nx = os.environ\n"),
    ("src/chatkeep/ports.py", "import time, uuid\nx = time.time(), uuid.uuid4()\n"),
    ("src/chatkeep/a.py", "import time\ndef f(random):\n    return time.monotonic() + random.choice()\n"),
    ("src/chatkeep/a.py", "import uuid, secrets\nx = uuid.UUID(y), secrets.compare_digest(a, b)\n"),
    ("bench/a.py", "import random\nx = random.Random(7)\nassert 404 != 409\n"),
    ("src/chatkeep/a.py", "try:\n    x\nexcept BaseException:\n    tidy()\n    raise\n"),
    ("src/chatkeep/a.py", "import asyncio\ntask = asyncio.create_task(f())\ngroup.create_task(f())\n"),
    ("src/chatkeep/web/a.py", "x = answer(status_code=404)\n"),
    ("src/chatkeep/edge/a.py", "x = 503\n"),
    ("src/chatkeep/dialects/cuadra/errors.py", "x = {NotFound: 404}\n"),
    (
        "src/chatkeep/dialects/native/routes/chats.py",
        "@routes.post('/chats', status_code=201)\ndef create(): ...\n",
    ),
    ("src/chatkeep/services/a.py", "x = 450\ny = 512 * 1024\nz = 5000\n"),
    (
        "src/chatkeep/domain/chat.py",
        "import enum\nfrom chatkeep.domain.ids import ChatId\nfrom .text import clean\n",
    ),
    ("src/chatkeep/a.py", "def f():\n    '''SELECT is a word here.'''\n"),
    (
        "src/chatkeep/a.py",
        "x = ['DELETE', 'DELETE /v1/chats/{id}', 'Update the chat', 'Select a model from the list.', 'WITH']\n",
    ),
    ("src/chatkeep/store/sqlite_writer.py", "x = 'BEGIN IMMEDIATE'\ny = 'PRAGMA foreign_keys = on'\n"),
    ("src/chatkeep/a.py", "x = 1  # type: ignore[misc]  # the stub lacks this\n"),
    ("src/chatkeep/a.py", "x = 1  # noqa: S608 - the name is ours\ny = '# noqa'\n"),
    ("docs/install.md", "pip install chatkeep; see the registry of your choice\n"),
    (
        "src/chatkeep/store/queries/chats.sql",
        "-- name: chat_tags\nSELECT t.name FROM chats c JOIN tags t\n"
        "  ON t.organisation_id = c.organisation_id AND t.chat_id = c.id WHERE c.organisation_id = :organisation_id;\n"
        "-- name: tag_put!\nINSERT INTO tags (organisation_id, chat_id, name)\n"
        "VALUES (:organisation_id, :chat_id, ';');\n"
        "-- name: organisation_name^\nSELECT name FROM organisations WHERE id = :id;\n",
    ),
]


def red(path: str, text: str) -> list[Finding]:
    return gates.judge(gates.breaches({**MIGRATION, path: text}))[0]


@pytest.mark.parametrize(("gate", "path", "text", "line"), BAD)
def test_bad_sample_is_red(gate: str, path: str, text: str, line: int) -> None:
    findings = red(path, text)
    assert (gate, path, line) in [(found.gate, found.path, found.line) for found in findings]
    assert {found.gate for found in findings} == {gate}, "one sample, one rule"


@pytest.mark.parametrize(("path", "text"), GOOD)
def test_good_sample_passes(path: str, text: str) -> None:
    assert red(path, text) == []


def test_every_gate_has_a_bad_sample() -> None:
    """A gate that was never seen to fail is not a gate."""
    names = {gate.__name__.replace("_", "-") for gate in gates.CODE_GATES}
    names = (names - {"sql-in-python"}) | {"sql", "syntax", "registries", "tenancy"}
    assert names == {gate for gate, *_ in BAD}


def test_finding_reads_as_file_line_and_one_sentence() -> None:
    (found,) = red("src/chatkeep/a.py", "import os\nx = os.environ\n")
    assert str(found) == "src/chatkeep/a.py:2: environment: os.environ: only config.py reads the environment"


def test_excuse_covers_its_place_and_no_other() -> None:
    here = Finding("clock", "src/chatkeep/a.py", 3, "now", "time.time")
    there = Finding("clock", "src/chatkeep/a.py", 9, "later", "time.time")
    assert gates.judge([here, there], {}, {"clock": {"src/chatkeep/a.py:now": "the port"}}) == ([there], [])
    assert gates.judge([here], {}, {"environment": {"src/chatkeep/a.py:*": "another rule's"}})[0] == [here]


def test_excuse_that_nothing_needs_is_red() -> None:
    findings, stale = gates.judge([], {}, {"clock": {"src/chatkeep/gone.py:*": "was here once"}})
    assert findings == []
    assert len(stale) == 1
    assert "src/chatkeep/gone.py:*" in stale[0]


def test_home_may_stand_empty() -> None:
    here = Finding("clock", "src/chatkeep/ports.py", 3, "now", "time.time")
    home = {
        "clock": {"src/chatkeep/ports.py:*": "the port"},
        "sql": {"src/chatkeep/store/*": "not built yet"},
    }
    assert gates.judge([here], home, {}) == ([], [])


def test_every_excuse_gives_its_reason() -> None:
    assert all(
        len(reason.split()) >= 2
        for table in (gates.HOMES, gates.EXCUSES)
        for places in table.values()
        for reason in places.values()
    )


def test_main_judges_a_repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "src").mkdir()
    (tmp_path / ".gitignore").write_text("ignored.md\n", encoding="utf-8")
    for name in ("seen.md", "ignored.md"):
        (tmp_path / name).write_text(REGISTRY, encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")

    assert gates.main(tmp_path) == 1
    printed = capsys.readouterr().out
    assert "seen.md:1: registries: " in printed
    assert "ignored.md" not in printed
