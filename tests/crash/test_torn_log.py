"""A write-ahead log cut or damaged anywhere opens to the transactions before that place, all of them and whole.

What a power failure leaves (design/trust.md, T6a). The log is that of a real workload; what must be there after opening
follows from where its commits end.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

import apsw
import pytest

from chatkeep.domain.chat import NewChat
from chatkeep.domain.ids import ChatId, PrincipalId
from chatkeep.domain.message import NewMessage
from chatkeep.services import appending, chats, messages, organisations
from chatkeep.services.context import Context
from chatkeep.store.driver import Transaction
from chatkeep.store.sqlite import open_sqlite
from tests.crash import wal
from tests.upstream import ScriptedUpstream
from tests.world import FakeClock, open_world

TRANSACTIONS, EACH = 30, 3
CUTS, FLIPS = 200, 50
DATABASE = "chatkeep.db"


@dataclass(frozen=True)
class Torn:
    """A database file, the log it had, and where the log's frames end."""

    database: Path
    log: bytes
    frames: list[wal.Frame]
    chat_ids: tuple[str, ...]

    def whole_before(self, offset: int) -> int:
        """How many transactions are complete in the log's first `offset` bytes."""
        return sum(frame.is_commit and frame.end <= offset for frame in self.frames)

    def lay_out(self, folder: Path, log: bytes) -> Path:
        """The database with this log, in a new folder."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(self.database, folder / DATABASE)
        (folder / f"{DATABASE}-wal").write_bytes(log)
        return folder / DATABASE


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Torn:
    return asyncio.run(_make(tmp_path_factory.mktemp("torn")))


async def _make(folder: Path) -> Torn:
    data, kept = folder / "data", folder / "kept.db"
    async with ScriptedUpstream() as upstream, open_world(data, FakeClock(), upstream) as world:
        made = (await organisations.list_organisations(world.system))[0]
        ctx = Context(world.system, organisations.operator(made.id, PrincipalId(world.owner.principal_id)))
        ids = [(await chats.create(ctx, NewChat("native"))).chat.id for _ in range(2)]
        _fold(data / DATABASE)
        shutil.copy(data / DATABASE, kept)
        for number in range(1, TRANSACTIONS + 1):
            await _transact(ctx, ids, number)
        log = (data / f"{DATABASE}-wal").read_bytes()
        frames = wal.frames(data / f"{DATABASE}-wal")
    assert sum(frame.is_commit for frame in frames) == TRANSACTIONS
    return Torn(kept, log, frames, tuple(ids))


async def _transact(ctx: Context, ids: list[ChatId], number: int) -> None:
    """One transaction that writes into every chat."""
    said = [NewMessage("user", f"{number}.{place} {'x' * (137 * number % 5_000)}") for place in range(EACH)]

    async def body(tx: Transaction) -> None:
        for chat_id in ids:
            state = await messages.open_for_append(tx, ctx, chat_id)
            await appending.append_to(tx, ctx.system, state, said)

    await ctx.write(body)


def transactions_in(path: Path, torn: Torn) -> int:
    """How many transactions the opened file holds. Fails unless they are the first ones, whole, and nothing else."""
    connection = apsw.Connection(str(path))
    try:
        assert connection.pragma("integrity_check") == "ok"
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        counts = set()
        for chat_id in torn.chat_ids:
            rows = connection.execute(
                "SELECT seq, content FROM messages WHERE chat_id = ? ORDER BY seq", (chat_id,)
            ).fetchall()
            names = [str(content).split()[0] for _, content in rows]
            whole = len(rows) // EACH
            assert names == [f"{n}.{place}" for n in range(1, whole + 1) for place in range(EACH)]
            assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1))
            told = connection.execute(
                "SELECT last_seq, message_count FROM chats WHERE id = ?", (chat_id,)
            ).fetchall()
            assert told == [(len(rows), len(rows))]
            counts.add(whole)
        (count,) = counts
        return count
    finally:
        connection.close()


async def opened(path: Path) -> Path:
    """The file after the store has opened and closed it."""
    await open_sqlite(path).close()
    return path


async def test_a_log_cut_anywhere_opens_to_what_was_whole(torn: Torn, tmp_path: Path) -> None:
    random = Random(11)
    commits = [frame.end for frame in torn.frames if frame.is_commit]
    offsets = {0, 1, wal.HEADER_BYTES, len(torn.log), *random.sample(commits, 10)}
    offsets |= {end - 1 for end in random.sample(commits, 10)}
    while len(offsets) < CUTS:
        offsets.add(random.randrange(len(torn.log)))
    for offset in sorted(offsets):
        path = torn.lay_out(tmp_path / "cut", torn.log[:offset])
        assert transactions_in(await opened(path), torn) == torn.whole_before(offset), f"cut at {offset}"


async def test_a_log_with_one_bit_wrong_opens_to_what_was_before_it(torn: Torn, tmp_path: Path) -> None:
    random = Random(12)
    ends = [wal.HEADER_BYTES, *(frame.end for frame in torn.frames)]
    bits = [random.randrange(wal.HEADER_BYTES * 8) for _ in range(5)]
    bits += [random.randrange(ends[-1] * 8) for _ in range(FLIPS - len(bits))]
    for bit in bits:
        log = bytearray(torn.log)
        log[bit // 8] ^= 1 << bit % 8
        sound = max((end for end in ends if end <= bit // 8), default=0)
        path = torn.lay_out(tmp_path / "flipped", bytes(log))
        assert transactions_in(await opened(path), torn) == torn.whole_before(sound), f"bit {bit}"


async def test_half_a_transaction_would_be_seen(torn: Torn, tmp_path: Path) -> None:
    halves = (
        "DELETE FROM messages WHERE chat_id = :chat_id AND seq = (SELECT max(seq) FROM messages)",
        "DELETE FROM messages WHERE chat_id = :chat_id AND seq > 3 * 12",
        "UPDATE chats SET message_count = message_count - 1 WHERE id = :chat_id",
        "UPDATE messages SET content = '1.0' WHERE chat_id = :chat_id AND seq = 50",
    )
    for sql in halves:
        path = await opened(torn.lay_out(tmp_path / "half", torn.log))
        assert transactions_in(path, torn) == TRANSACTIONS
        connection = apsw.Connection(str(path))
        connection.execute(sql, {"chat_id": torn.chat_ids[1]})
        connection.close()
        with pytest.raises((AssertionError, ValueError)):
            transactions_in(path, torn)


def _fold(path: Path) -> None:
    """Move everything from the log into the file; the next write begins the log anew."""
    connection = apsw.Connection(str(path))
    assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0] == 0
    connection.close()
