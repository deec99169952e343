"""A model whose answers can be checked: numbered words of the question's own, and on from wherever the prompt ends.

An answer to `tell 40 of apples` is `apples.1 apples.2 …` up to 40; asked to go on with a whole one, it tells 40 more.
Answers of an even count name two pages as their sources, those of one that three divides end with two calls of tools.
"""

from __future__ import annotations

import re
from typing import Any

from tests.upstream import Script, ScriptedUpstream

ASKED = re.compile(r"tell (\d+) of (\S+)")


def question(count: int, name: str) -> str:
    """What to ask for so many words."""
    return f"tell {count} of {name}"


def told(name: str, count: int, first: int = 1) -> str:
    """What is answered to it, from the word `first` on."""
    return "".join(f"{name}.{number} " for number in range(first, count + 1))


def is_told(text: str) -> bool:
    """Whether it is the beginning of an answer, without a gap and without a word twice."""
    name, _, _ = text.partition(".")
    return told(name, text.count(".")) == text


class Storyteller(ScriptedUpstream):
    """The server; `pace_s` between two words, and as long before the first."""

    def __init__(self, pace_s: float = 0.005) -> None:
        super().__init__()
        self.pace_s = pace_s
        self.strange: list[str] = []  # prompts that end with what it never said

    def _echo(self, body: dict[str, Any]) -> Script:
        asked = next(turn["content"] for turn in reversed(body["messages"]) if turn["role"] == "user")
        found = ASKED.search(asked)
        if found is None:
            return super()._echo(body)
        count, name = int(found[1]), found[2]
        last = body["messages"][-1]
        said = last["content"] if last["role"] == "assistant" else ""
        begun = said.count(f"{name}.")
        if not told(name, begun).startswith(said):
            self.strange.append(said)
        until = count * (begun // count + 1)
        rest = told(name, until)[len(said) :]
        words = re.findall(r"\S*\s", rest)
        thoughts = [f"{name}? ", "Hm. "] if not said and len(name) % 2 else []
        return Script(
            words,
            reasoning=thoughts,
            delay_s=self.pace_s,
            first_delay_s=self.pace_s,
            usage=(9, len(words)),
            sources=[f"https://{name}.example/{page}" for page in (1, begun)] if count % 2 == 0 else (),
            calls=[(f"{name}.{call}", "tell", f'{{"of": "{name}"}}') for call in "ab"]
            if count % 3 == 0
            else (),
        )
