"""What tests of `chatkeep copy` stand on: a data folder with something in every table, and ways to look at copies."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import apsw
import asyncpg
import httpx
import pytest

from chatkeep import wiring
from tests.contract.dialects.speaking import SPEAKERS
from tests.flows.command_line import Done, invoke
from tests.flows.test_cli_doctor import filling, furnish
from tests.upstream import ScriptedUpstream
from tests.world import Caller, FakeClock, World, open_world

HEAD = "table\trows\tsha256\tresult"
PRESENT = "SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM events)"
PATIENCE_S = 30
LONG_TEXT = "swallow 🐦\t" * 7_000


@dataclass(frozen=True)
class Kept:
    """A data folder that nobody serves any more, and what was answered when somebody did."""

    data: Path
    owner: Caller
    answers: dict[tuple[str, str], bytes]

    @property
    def url(self) -> str:
        return f"sqlite:{self.data / wiring.DATABASE}"


async def answers(world: World, caller: Caller, paths: list[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
    """What is answered to each GET, with its ETag, by the credential's header and the path."""
    found = {}
    for header, path in paths:
        headers = caller.x_api_key if header == "x-api-key" else caller.bearer
        answer: httpx.Response = await world.client.get(path, headers=headers)
        told = f"{answer.status_code} {answer.headers.get('etag')} "  # a few ids are none in every dialect
        found[header, path] = told.encode() + answer.content
    assert sum(each.startswith(b"200") for each in found.values()) > 50
    return found


async def furnish_all(world: World) -> list[tuple[str, str]]:
    """Something in every table, and chats of every dialect; what to read then."""
    await furnish(world)
    friend = await world.person()
    folder = await world.native("POST", "/folders", name="Work 🙂")
    await world.native(
        "POST",
        "/chats",
        id="rich:1",
        title="Größe",
        metadata={"n": 1.5, "deep": [{"ö": None}]},
        visibility="shared",
        shared_with=[friend.principal_id],
        tags=["My Work", "b"],
        folder_id=folder["id"],
        pinned=True,
        messages=[{"role": "user", "content": LONG_TEXT}, {"role": "assistant", "content": ""}],
    )
    share = await world.native("POST", "/chats/rich:1/share")
    once = {**world.owner.bearer, "Idempotency-Key": "once"}
    said = {"id": "once", "messages": [{"role": "user", "content": "Once"}]}
    assert (await world.client.post("/chatkeep/v1/chats", headers=once, json=said)).is_success
    wrong = {"email": "nobody@example.org", "password": "wrong"}
    assert (await world.client.post("/api/v1/auths/signin", json=wrong)).status_code == 400
    other = await world.organisation("Other")
    await world.native("POST", "/chats", other, id="rich:1", title="Theirs")
    chats = ["talk", "broken", "brief", "rich:1", "once"]
    chats += [(await speaker.make(world, world.owner))[0] for speaker in SPEAKERS]
    read = [
        ("x-api-key" if speaker.name == "lexicon" else "bearer", speaker.prefix + speaker.chat(chat))
        for speaker in SPEAKERS
        for chat in chats
    ]
    tails = ("/messages", "/documents", "/events?wait_s=0")
    own = [f"/chatkeep/v1/chats/{chat}{tail}" for chat in chats for tail in tails]
    lists = [f"/chatkeep/v1/{each}" for each in ("chats", "folders", "models", "me", f"shares/{share['id']}")]
    return read + [("bearer", path) for path in own + lists]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A bit of everything, which nobody changes."""
    data = tmp_path_factory.mktemp("kept") / "data"

    async def make() -> Kept:
        async with (
            ScriptedUpstream() as upstream,
            open_world(data, FakeClock(), upstream, tokens_per_organisation_max=1_000_000) as world,
        ):
            read = await furnish_all(world)
            change(data, "UPDATE models SET credit_multiplier = 0.1")  # the one column of its kind
            return Kept(data, world.owner, await answers(world, world.owner, read))

    return asyncio.run(make())


@pytest.fixture(scope="session")
def filled(kept: Kept, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with 5,000 messages more."""
    data = Path(shutil.copytree(kept.data, tmp_path_factory.mktemp("filled") / "data"))
    change(data, *filling(5_000))
    return data


@pytest.fixture
def data(kept: Kept, tmp_path: Path) -> Path:
    """A copy of it that may be changed."""
    return Path(shutil.copytree(kept.data, tmp_path / "data"))


def change(data: Path, *statements: str) -> None:
    with closing(apsw.Connection(str(data / wiring.DATABASE))) as connection:
        for each in statements:
            connection.execute(each)
            assert connection.changes(), "it changed nothing"


def copy(data: Path, url: str, *options: str) -> Done:
    return invoke("copy", f"sqlite:{data / wiring.DATABASE}", url, *options)


def asked(url: str, statement: str) -> Any:
    """One value (or what a statement does), as the role that sees all."""

    async def ask() -> Any:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("SET ROLE chatkeep_system")
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


def rows_of(done: Done) -> dict[str, int]:
    """What a command that ended well says there is, table by table."""
    assert done.code == 0, done.err
    head, *lines = done.out.splitlines()
    assert head == HEAD
    cells = [line.split("\t") for line in lines]
    assert {each[3] for each in cells} == {"equal"}
    assert {len(each[2]) for each in cells} == {12}
    return {each[0]: int(each[1]) for each in cells}


def counted(data: Path) -> dict[str, int]:
    """The rows of each table of a file."""
    with closing(apsw.Connection(str(data / wiring.DATABASE))) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT count(*) FROM {name}").get for name in names}


def present(url: str) -> int:
    """How many rows of the great tables are there."""
    return int(asked(url, PRESENT))


def refused(done: Done, *words: str, code: int = 1) -> None:
    """Assert that the command ended with one line that holds these words."""
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), done.err
    for each in words:
        assert each in done.err


def change_there(url: str, statement: str) -> None:
    """`asked`, also where a loop runs."""
    thread = threading.Thread(target=asked, args=(url, statement))
    thread.start()
    thread.join()


class Watch:
    """Looks at how many rows of the great tables a database has, again and again; a context."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> Watch:
        self._connection = self._loop.run_until_complete(asyncpg.connect(self._url))
        self._loop.run_until_complete(self._connection.execute("SET ROLE chatkeep_system"))
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.terminate()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def present(self) -> int:
        """How many."""
        return int(self._loop.run_until_complete(self._connection.fetchval(PRESENT)))

    @contextmanager
    def holding_up(self, table: str) -> Iterator[None]:
        """Nobody else writes to a table meanwhile."""
        self._loop.run_until_complete(self._connection.execute(f"BEGIN; LOCK TABLE {table} IN SHARE MODE"))
        yield
        self._loop.run_until_complete(self._connection.execute("ROLLBACK"))

    def until(self, count: int) -> None:
        """Wait until there are so many."""
        until_s = monotonic() + PATIENCE_S
        while self.present() < count:
            assert monotonic() < until_s, "the copy does not come on"
            sleep(0.001)
