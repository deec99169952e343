"""The manual's commands are found, and an output of another shape is told from one with only other ids and times."""

from __future__ import annotations

import json

import pytest

from tests.clients.serving import environment
from tests.clients.transcripts import Shell, Step, differences, steps

MANUAL = """\
Text with $ signs.

```
$ not run
```

```console
$ first --with \\
    more
one
two
$ second
```

```console
$ third
```
"""
PRINTED = {
    "id": "01a20656-3619-743f-b2f1-744f855bfb93",
    "created_at": "2026-11-23T02:57:22.969893Z",
    "status": "active",
    "message_count": 2,
    "tokens_used": 8,
    "responseTimeMs": 12,
    "pinned": False,
    "messages": {"01a20656-3715-75f5-b00e-80eb12aaf86c": {"content": "The capital of France is Paris."}},
}
SAME = {
    **PRINTED,
    "id": "01b20656-3619-743f-b2f1-744f855bfb93",
    "created_at": "2027-01-01T00:00:00Z",
    "tokens_used": 9,
    "responseTimeMs": 3000,
    "messages": {"01b20656-3715-75f5-b00e-80eb12aaf86c": {"content": "Paris."}},
}


def test_commands_stand_in_console_blocks() -> None:
    assert steps(MANUAL) == [
        Step("first --with \\\n    more", "one\ntwo"),
        Step("second", ""),
        Step("third", ""),
    ]


def test_other_ids_times_and_words_are_the_same_shape() -> None:
    assert differences(json.dumps(PRINTED, indent=1), json.dumps(SAME)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"id": "no id"},
        {"created_at": 1795402642},
        {"status": "closed"},
        {"message_count": 3},
        {"tokens_used": None},
        {"pinned": 0},
        {"pinned": True},
        {"messages": {}},
        {"messages": {"01a20656-3715-75f5-b00e-80eb12aaf86c": {"content": ""}}},
        {"messages": {"01a20656-3715-75f5-b00e-80eb12aaf86c": {"text": "Paris."}}},
        {"more": 1},
    ],
)
def test_another_shape_is_found_out(change: dict[str, object]) -> None:
    assert len(differences(json.dumps(PRINTED), json.dumps({**SAME, **change}))) == 1


def test_lines() -> None:
    printed = "ready at http://localhost:8000\nkey ck_abc\n…\nend"
    assert differences(printed, "ready at http://127.0.0.1:4711\nkey ck_xyz\nend") == []
    assert differences(printed, "ready at http://127.0.0.1:4711\nkey ck_xyz\nmore\nand more\nend") == []
    assert differences(printed, "ready at http://127.0.0.1:4711\nkey ck_xyz") == ["only 2 lines"]
    assert differences("one\ntwo", "one\nthree") == ["'two' is now 'three'"]
    assert differences("one", "one\ntwo") == ["'(no line)' is now 'two'"]
    assert differences('{"a": 1}', "Not Found") == ["'{\"a\": 1}' is now 'Not Found'"]


def test_fields_may_be_left_out() -> None:
    printed = '{…,"status":"active",…,"messages":[{"content":"x",\n …}],"pinned":false,…}'
    got = {**SAME, "messages": [{"content": "y", "role": "user"}], "pinned": False, "more": 1}
    got = {name: got[name] for name in ("id", "status", "message_count", "messages", "pinned", "more")}
    assert differences(printed, json.dumps(got)) == []
    assert differences(printed, json.dumps({**got, "status": "closed"})) != []
    assert differences(printed, json.dumps({**got, "messages": [{"role": "user"}]})) != []
    assert differences('{"id":"a"}', '{"id":"a","more":1}') != []
    assert differences('{"a":"…"}', '{"a":"b"}') != []


def test_server_sent_events_are_compared_as_json() -> None:
    printed = 'event: run\ndata: {"id":"a",…}\n\n…\n\nevent: done\ndata: {…,"response_time_ms":3}'
    got = 'event: run\ndata: {"id":"a","b":1}\n\nevent: x\ndata: 1\n\nevent: done\ndata: {"b":1,"response_time_ms":9}'
    assert differences(printed, got) == []
    assert differences(printed, got.replace("done", "error")) != []
    assert differences(printed, got.replace('"id":"a"', '"id":"b"')) != []


def test_a_shell_keeps_its_variables_and_stops_at_a_failure(tmp_path) -> None:
    shell = Shell(tmp_path, environment(key="ck_1"))
    assert shell.run("NAME=$(echo 'a \"b\" $c')") == ""
    assert shell.run('echo "$NAME $CHATKEEP_KEY"') == 'a "b" $c ck_1'
    with pytest.raises(AssertionError, match="no such thing"):
        shell.run("echo no such thing; exit 3")
