"""The context length is found in a GGUF file's head, and no damaged file does worse than a ValueError."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatkeep.models.gguf import trained_context


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


ENTRIES = [
    string("general.architecture") + struct.pack("<I", 8) + string("llama"),
    string("some.floats") + struct.pack("<IIQ", 9, 6, 3) + struct.pack("<3f", 1, 2, 3),
    string("some.tokens") + struct.pack("<IIQ", 9, 8, 2) + string("a") + string("bc"),
    string("some.flag") + struct.pack("<I?", 7, True),
    string("llama.context_length") + struct.pack("<II", 4, 8192),
]
HEAD = struct.pack("<4sIQQ", b"GGUF", 3, 0, len(ENTRIES))
FILE = HEAD + b"".join(ENTRIES)


def test_the_context_length_is_found_behind_other_entries(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(FILE)
    assert trained_context(tmp_path / "a.gguf") == 8192


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 something else",
        HEAD,
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 0),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q", 2**63),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + string("x") + struct.pack("<I", 99),
    ],
)
def test_a_file_that_does_not_tell_is_a_value_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.gguf").write_bytes(data)
    with pytest.raises(ValueError, match=r"GGUF|context"):
        trained_context(tmp_path / "a.gguf")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.integers(0, len(FILE) - 1), st.binary(max_size=8))
def test_damage_is_a_value_error_or_a_number(tmp_path: Path, place: int, junk: bytes) -> None:
    (tmp_path / "a.gguf").write_bytes(FILE[:place] + junk + FILE[place + len(junk) : -1])
    try:
        assert trained_context(tmp_path / "a.gguf") > 0
    except ValueError:
        pass
