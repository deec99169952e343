"""`chatkeep copy` ended anywhere: it goes on, and until it has ended nobody else uses the database."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from time import sleep

import asyncpg
import pytest
from pydantic import SecretStr

from chatkeep import wiring
from chatkeep.config import Settings
from chatkeep.domain.errors import StoreRefused
from chatkeep.store.agreements import COPY
from chatkeep.store.copying import Table
from chatkeep.store.driver import Row
from chatkeep.store.postgres_copying import PostgresTarget
from chatkeep.store.sqlite import open_up_to_date
from tests.flows.command_line import invoke
from tests.flows.copy_forks import Copies, kill
from tests.flows.copying import (
    Kept,
    Watch,
    asked,
    change_there,
    copy,
    counted,
    present,
    rows_of,
)
from tests.flows.copying import data as data
from tests.flows.copying import filled as filled
from tests.flows.copying import kept as kept

pytestmark = pytest.mark.sqlite  # one side is a file; the other one they make


@pytest.fixture(scope="module")
def forks() -> Iterator[Copies]:
    with Copies() as running:
        yield running


PLACES = (0.0, 0.0, 0.1, 0.25, 0.4, 0.5, 0.65, 0.8, 0.95, 1.0)
"""How much of all rows is there when the copy is killed; all of them: while it compares."""


def test_killed_anywhere_it_goes_on(filled: Path, postgres_url: str, forks: Copies) -> None:
    chance = random.Random(7)
    rows = counted(filled)
    total = rows["messages"] + rows["events"]
    there = f"sqlite:{filled / wiring.DATABASE}"
    killed = was = 0
    with Watch(postgres_url) as watch:
        for place in PLACES:
            pid = forks.copy(there, postgres_url)
            watch.until(int(total * place))
            sleep(chance.uniform(0, 0.02))
            killed += kill(pid)
            now = watch.present()
            assert now >= was, "it began anew"
            was = now
    assert killed >= len(PLACES) - 1, "it is too quick to be killed"
    if killed < len(PLACES):  # the last one was ready before it was killed
        assert present(postgres_url) == total
        return
    assert asked(postgres_url, f"SELECT value FROM agreements WHERE name = '{COPY}'") == there
    assert rows_of(copy(filled, postgres_url))["messages"] == rows["messages"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_goes_on(filled: Path, postgres_url: str, forks: Copies, number: int) -> None:
    with Watch(postgres_url) as watch, watch.holding_up("messages"):
        pid = forks.copy(f"sqlite:{filled / wiring.DATABASE}", postgres_url)
        watch.until(counted(filled)["events"])
        assert kill(pid, number)
        assert watch.present() == counted(filled)["events"]
    assert rows_of(copy(filled, postgres_url))["events"] == counted(filled)["events"]


def test_a_lost_connection_is_a_sentence_and_it_goes_on(
    filled: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = PostgresTarget.insert

    async def breaking(self: PostgresTarget, table: Table, rows: Sequence[Row]) -> None:
        if table.name == "messages" and await self.last_key(table) is not None:
            other = await asyncpg.connect(postgres_url)
            await other.fetchval("SELECT pg_terminate_backend($1, 5000)", self._connection.get_server_pid())
            await other.close()
        await insert(self, table, rows)

    monkeypatch.setattr(PostgresTarget, "insert", breaking)
    done = copy(filled, postgres_url)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.endswith("Run the same command again: it goes on where it was.\n")
    monkeypatch.undo()
    assert 0 < present(postgres_url) < counted(filled)["messages"] + counted(filled)["events"]
    assert rows_of(copy(filled, postgres_url))["messages"] == counted(filled)["messages"]


def test_while_it_has_not_ended_nothing_else_uses_the_database(
    filled: Path, kept: Kept, postgres_url: str, forks: Copies
) -> None:
    there = f"sqlite:{filled / wiring.DATABASE}"
    pid = forks.copy(there, postgres_url)
    with Watch(postgres_url) as watch:
        watch.until(1)
    kill(pid)
    settings = {"database_url": postgres_url, "secrets": str(kept.data / wiring.SECRETS)}
    for command in (("serve", "--port", "0"), ("doctor",), ("keys", "create")):
        refused = invoke(*command, local_model="false", **settings)  # type: ignore[arg-type]  # settings are never called stdin
        assert refused.code != 0
        assert f"A copy from {there} into this database has not ended." in refused.err, command
    other = copy(kept.data, postgres_url)
    assert (other.code, other.out, other.err.count("\n")) == (1, "", 1)
    assert f"from another source is under way: {there}." in other.err


def test_a_file_that_is_half_a_copy_is_not_served(postgres_url: str, tmp_path: Path) -> None:
    half = tmp_path / "half" / wiring.DATABASE
    half.parent.mkdir()
    with closing(open_up_to_date(half)) as connection:
        connection.execute(f"INSERT INTO agreements VALUES ('{COPY}', 'elsewhere')")
    done = invoke("copy", f"sqlite:{half}", postgres_url)
    assert (done.code, "is itself a copy that has not ended, from elsewhere." in done.err) == (1, True)
    for command in ("serve", "doctor"):
        refused = invoke(command, "--data", str(half.parent), local_model="false")
        assert "A copy from elsewhere into this database has not ended." in refused.err


async def test_a_server_that_opened_the_database_before_the_copy_began_makes_nothing(
    postgres_url: str, tmp_path: Path
) -> None:
    settings = Settings(data=tmp_path, database_url=SecretStr(postgres_url), local_model=False)
    system = wiring.make_system(settings)
    change_there(postgres_url, f"INSERT INTO agreements VALUES ('{COPY}', 'elsewhere')")
    with pytest.raises(StoreRefused, match="A copy from elsewhere into this database has not ended"):
        await wiring.first_start(system)
    await wiring.close(system)
    assert await asyncio.to_thread(asked, postgres_url, "SELECT count(*) FROM organisations") == 0
    assert (
        await asyncio.to_thread(
            asked, postgres_url, "SELECT count(*) FROM agreements WHERE name <> 'secrets'"
        )
        == 1
    )
