"""The one fact the server wants from a GGUF file's head without loading it: how long a context it was trained on.

llama.cpp knows it too, but only once it runs; a list of models should not start it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
# struct's letter for each of the format's scalar types.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_ENTRIES_MAX = 10_000
_ITEMS_MAX = 10_000_000
_STRING_BYTES_MAX = 16 * 1024 * 1024


def trained_context(path: Path) -> int:
    """How many tokens at once the model in `path` was trained on.

    Raises ValueError when the file is not a GGUF file that tells, OSError when it cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{path.name} is not a GGUF file")
        _version, _tensors, entries = _unpack(file, "IQQ")
        for _ in range(min(entries, _ENTRIES_MAX)):
            key = _string(file)
            value = _value(file, _unpack(file, "I")[0])
            if key.endswith(b".context_length") and type(value) is int and value > 0:
                return value
    raise ValueError(f"{path.name} does not tell its context length")


def _unpack(file: BinaryIO, letters: str) -> tuple[int, ...]:
    shape = struct.Struct("<" + letters)
    data = file.read(shape.size)
    if len(data) < shape.size:
        raise ValueError("a GGUF file that was cut off")
    return shape.unpack(data)


def _string(file: BinaryIO) -> bytes:
    (size,) = _unpack(file, "Q")
    if size > _STRING_BYTES_MAX:
        raise ValueError("a GGUF file with a string too long to be true")
    return file.read(size)


def _value(file: BinaryIO, kind: int) -> int | float | bytes | None:
    """The value at the file's position; arrays are only passed over."""
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        item_kind, count = _unpack(file, "IQ")
        _skip_items(file, item_kind, count)
        return None
    if kind in _SCALARS:
        return _unpack(file, _SCALARS[kind])[0]
    raise ValueError(f"a GGUF file with a value of unknown kind {kind}")


def _skip_items(file: BinaryIO, kind: int, count: int) -> None:
    if count > _ITEMS_MAX or kind == _ARRAY:
        raise ValueError("a GGUF file with an array too large to be true")
    if kind in _SCALARS:
        file.seek(count * struct.calcsize("<" + _SCALARS[kind]), 1)
        return
    for _ in range(count):
        _value(file, kind)
