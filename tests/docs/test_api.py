"""The calls in docs/api.md are made, in their order, and answered as the page says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.upstream import Script
from tests.world import NATIVE, World

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
ELIDED = "…"
ANSWERS = ("The capital of France is Paris.", "The capital of Italy is Rome.")
TOLD_EXACTLY = frozenset(
    {
        "code",
        "status",
        "detail",
        "field",
        "role",
        "content",
        "title",
        "visibility",
        "seq",
        "turn_number",
        "kind",
    }
    | {"scopes", "tags", "name", "filename", "size_bytes", "sha256", "version", "message_count", "has_more"}
)
"""Fields whose values are the same in every run; of the others the type is compared."""


@dataclass(frozen=True)
class Call:
    """A command of the page and what it shows as its answer."""

    command: str
    answer: str


def calls() -> Iterator[Call]:
    """Every call of the page, in order."""
    for block in re.findall(
        r"^```console\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            end = next((n for n, line in enumerate(lines) if line[0] in "{e"), len(lines))
            yield Call("\n".join(lines[:end]), "\n".join(lines[end:]))


async def make(world: World, command: str) -> httpx.Response:
    """The call, as curl would make it."""
    words = shlex.split(command.replace("\\\n", " "))
    assert words.pop(0) == "curl"
    method, headers, body, url = None, {}, None, ""
    while words:
        word = words.pop(0)
        if word == "-X":
            method = words.pop(0)
        elif word == "-H":
            name, _, value = (
                words.pop(0).replace("$AUTH", f"Authorization: Bearer {world.owner.key}").partition(": ")
            )
            headers[name] = value
        elif word == "--json":
            body = words.pop(0).encode()
            headers["content-type"] = "application/json"
        elif word != "-N":
            url = word.replace("$URL", NATIVE)
    assert url.startswith(NATIVE)
    return await world.client.request(
        method or ("GET" if body is None else "POST"), url, headers=headers, content=body
    )


def read(text: str) -> Any:
    """Shown JSON; where fields are left out, the object has the key `…`."""
    joined = re.sub(r"\n ", "", text)
    return json.loads(re.sub(rf"{ELIDED}(?=[,}}])", f'"{ELIDED}":null', joined))


def check(shown: Any, real: Any, at: str) -> None:
    """The shown JSON must be the real one but for what is left out, ids, times and measures."""
    assert type(shown) is type(real), f"{at}: {shown!r} is shown, {real!r} comes"
    if isinstance(shown, dict):
        told = [name for name in shown if name != ELIDED]
        wanted = [name for name in real if name in told] if ELIDED in shown else list(real)
        assert told == wanted, f"{at}: {told} are shown, {wanted} come"
        for name in told:
            check(shown[name], real[name], f"{at}.{name}")
    elif isinstance(shown, list):
        assert len(shown) == len(real), f"{at}: {len(shown)} are shown, {len(real)} come"
        for n, (one, other) in enumerate(zip(shown, real, strict=True)):
            check(one, other, f"{at}.{n}")
    elif at.rsplit(".", 1)[-1] in TOLD_EXACTLY or at.split(".")[-2] in TOLD_EXACTLY:
        assert shown == real, at


def blocks(text: str) -> list[tuple[str, Any]]:
    """The events of a stream by name; a lone `…` stands for any number of deltas."""
    found = []
    for block in text.strip().split("\n\n"):
        if block != ELIDED:
            name, _, data = block.partition("\n")
            found.append((name, read(data.removeprefix("data: "))))
    return found


async def test_every_call_is_answered_as_shown(world: World) -> None:
    world.upstream.play(*(Script(re.findall(r"\s?\S+", text)) for text in ANSWERS))
    made = list(calls())
    assert len(made) >= 20
    for call in made:
        response = await make(world, call.command)
        if not call.answer:
            assert (response.status_code, response.content) == (204, b""), call.command
        elif call.answer.startswith("event: "):
            shown, real = blocks(call.answer), blocks(response.text)
            assert ELIDED in call.answer
            deltas = len(real) - len(shown)
            assert deltas >= 0
            for (name, value), (real_name, real_value) in zip(shown[:-1], real, strict=False):
                assert name == real_name
                check(value, real_value, f"{call.command}.{name}")
            assert shown[-1][0] == real[-1][0]
            check(shown[-1][1], real[-1][1], f"{call.command}.done")
        else:
            shown_value = read(call.answer)
            check(shown_value, response.json(), call.command)
            assert (
                response.status_code == shown_value.get("status", response.status_code) or response.is_success
            )


def test_the_page_holds_no_secret_and_its_links_lead_somewhere() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert not re.search(r"cks?_[A-Za-z0-9]{8}", page)
    for target in re.findall(r"\]\(([^)#:]+)\)", page):
        assert (PAGE.parent / target).exists(), target
