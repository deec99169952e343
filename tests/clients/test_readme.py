"""Every command of the manual runs as it stands, with the real offline model, and prints what the manual prints.

What is run, and when two outputs agree, is told in `tests.clients.transcripts`. Each document is a shell session of its
own, in a folder that has `.venv` and `data` as the project's folder has them. These are there before its first command:

- a server with fresh data; `localhost:8000` and `127.0.0.1:8000` in commands become its address,
- `CHATKEEP_KEY`: the owner's key, as the first start printed it, `URL`: the server's address,
- `CHAT`: the id of a chat with a question and its answer, for documents that use `$CHAT` and nowhere set it.

What `chatkeep chat` prints is the model's own words: only that it said something is checked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chatkeep.models.local import weights_path
from tests.clients.serving import Served, environment, serving
from tests.clients.transcripts import Shell, differences, steps

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
DOCUMENTS = [path for path in MANUAL if steps(path.read_text())]
SERVES = re.compile(r"(?:make run|\S*chatkeep serve)\b")
SPEAKS = re.compile(r"\S*chatkeep chat\b")


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with nothing but the offline model."""
    assert weights_path() is not None, "the offline model is not installed: `make test` fetches it"
    with serving(tmp_path_factory.mktemp("offline"), log_requests="false") as served:
        yield served


def test_the_readme_has_commands() -> None:
    assert ROOT / "README.md" in DOCUMENTS


@pytest.mark.parametrize("document", DOCUMENTS, ids=[path.stem for path in DOCUMENTS])
def test_its_commands_do_what_it_prints(offline: Served, document: Path, tmp_path: Path) -> None:
    manual = document.read_text(encoding="utf-8")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "data").symlink_to(offline.data)
    address = urlsplit(offline.url)
    variables = environment(key=offline.key, port=str(address.port)) | {"URL": offline.url}
    if "$CHAT" in manual and "CHAT=" not in manual:
        variables["CHAT"] = _answered_chat(offline)
    shell = Shell(tmp_path, variables)
    for step in steps(manual):
        assert not SERVES.match(step.command), (
            "the server runs already: show its start in another kind of block"
        )
        command = re.sub(r"\b(?:localhost|127\.0\.0\.1):8000\b", address.netloc, step.command)
        got = shell.run(command)
        if SPEAKS.match(step.command):
            assert got.strip(), step.command
        else:
            assert differences(step.printed, got) == [], step.command


def _answered_chat(offline: Served) -> str:
    chat_id = str(offline.native("POST", "/chats", title="Capitals")["id"])
    offline.native(
        "POST", f"/chats/{chat_id}/generate", message="What is the capital of France?", max_tokens=20
    )
    return chat_id
