"""A mixed load on PostgreSQL, on one node and on two: `python -m bench.mixed`.

Everything of the first (node, database, load) shares one core, everything of the second has two: what a second core
with a second node adds, when nothing is free. Of a hundred requests 60 read a chat of 20 messages, 10 ask whether it
changed, 5 list chats, 25 append a message; 200 chats, so every append voids what the others have ready.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from bench import load, server
from bench.scenarios import NATIVE, make_chat
from bench.server import HOST, Running

CHATS, MESSAGES = 200, 20
CONNECTIONS = 32
GOOD = {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NOT_MODIFIED}


def requests(running: Running, chats: list[str]) -> Iterator[bytes]:
    """The mix, at random but the same each time."""
    dice = random.Random(1)
    key = {"authorization": f"Bearer {running.key}"}
    said = json.dumps({"messages": [{"role": "user", "content": "One more. " * 20}]}).encode()
    while True:
        path = f"{NATIVE}/chats/{dice.choice(chats)}"
        share = dice.random()
        if share < 0.60:
            yield load.request("GET", path, key)
        elif share < 0.70:
            yield load.request("GET", path, {**key, "if-none-match": "*"})
        elif share < 0.75:
            yield load.request("GET", f"{NATIVE}/chats?limit=20", key)
        else:
            yield load.request("POST", f"{path}/messages", key, said)


async def throughput(nodes: list[Running], chats: list[str], seconds: float) -> tuple[float, float]:
    """Requests per second of all nodes together, and the worst of their p99 in ms."""
    found = await asyncio.gather(
        *(
            load.run(
                HOST, node.port, requests(node, chats), connections=CONNECTIONS // len(nodes), seconds=seconds
            )
            for node in nodes
        )
    )
    wrong: dict[int, int] = {}
    for each in found:
        for status, count in each.statuses.items():
            if status not in GOOD:
                wrong[status] = wrong.get(status, 0) + count
    if wrong:
        raise RuntimeError(f"not all were answered well: {wrong}")
    return sum(each.rps for each in found), max(each.p99_ms for each in found)


def measured(count: int, seconds: float, rounds: int) -> tuple[float, float]:
    """The median over the rounds, with so many nodes on as many cores."""
    cores = sorted(os.sched_getaffinity(0))[:count]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatkeep-mixed-")))
        os.sched_setaffinity(0, cores)  # and so for all that are started from here
        place = stack.enter_context(server.databases("postgres", cores))
        settings: Mapping[str, str] = {
            **server.NOBODY,
            **place(),
            "CHATKEEP_SECRETS": str(folder / "secrets"),
        }
        nodes: list[Running] = []
        for number in range(count):
            (folder / str(number)).mkdir()
            key = nodes[0].key if nodes else ""
            node = server.chatkeep(folder / str(number), key, settings=settings, core=cores[number])
            nodes.append(stack.enter_context(node))
        os.sched_setaffinity(0, cores)
        model = nodes[0].make(f"{NATIVE}/models", _MODEL)["id"]
        chats = [make_chat(nodes[0], MESSAGES, model) for _ in range(CHATS)]
        found = [uvloop.run(throughput(nodes, chats, seconds)) for _ in range(rounds)]
        return median(rps for rps, _ in found), median(p99 for _, p99 in found)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="bench.mixed", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="measured time of each round")
    parser.add_argument("--rounds", type=int, default=3)
    said = parser.parse_args()
    every = os.sched_getaffinity(0)
    figures = {}
    for count in (1, 2):
        os.sched_setaffinity(0, every)
        if len(every) < count:
            print(f"{count} nodes need {count} cores.")
            return
        figures[count] = measured(count, said.seconds, said.rounds)
        rps, p99_ms = figures[count]
        print(
            f"{count} node{'s' * (count > 1)}: {rps:,.0f} requests/s, {rps / count:,.0f} a core, p99 {p99_ms:.0f} ms"
        )
    print(f"Two nodes on two cores: {figures[2][0] / figures[1][0]:.2f} times one on one.")


_MODEL: dict[str, Any] = {
    "display_name": "Nobody",
    "context_window": 8192,
    "provider": "nobody",
    "model_name": "nobody",
}

if __name__ == "__main__":
    main()
