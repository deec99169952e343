"""A backup taken in the middle of many appends is put into an empty folder and served: nothing told is missing.

The restore is the manual's (`docs/operations.md`): the file becomes `chatkeep.db`, its secrets become `secrets`.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from pathlib import Path

from tests.crash.ledger import Append, Ledger, examine
from tests.crash.process import Nursery
from tests.crash.test_kill import QUESTION, Client, Folder, furnish
from tests.flows.command_line import run
from tests.upstream import Script, ScriptedUpstream

WRITERS, BEFORE, AFTER = 8, 300, 300


async def test_a_backup_under_writes_is_restored(tmp_path: Path) -> None:
    with Nursery() as nursery:
        async with ScriptedUpstream() as upstream:
            lived = Folder(tmp_path / "data", upstream, nursery)
            server = await lived.serve()
            async with Client(server, lived.key) as client:
                await furnish(lived, client)
                told = await back_up_under_writes(lived, client, tmp_path / "backup.db")
            await server.kill()

            restored = Folder(restore(tmp_path / "backup.db"), upstream, nursery)
            await assert_sound(restored.data)
            server = await restored.serve()
            assert server.key is None, "a new owner: the restored folder was taken for an empty one"
            async with Client(server, lived.key) as client:
                await assert_served(client, told)
            await server.kill()
            assert examine(restored.database, told) == []
            await assert_sound(restored.data)


async def back_up_under_writes(folder: Folder, client: Client, target: Path) -> Ledger:
    """Back up while clients write and a run is under way; what was acknowledged before, and what may be in it too."""
    folder.upstream.play(Script(["I am ", "not sure"], failure="silent"))
    _, chat, _ = await client.ask("POST", "/chats", {"id": "asked"})
    listening = await client.start_run(chat["id"], "the run")
    plan = deque(range(BEFORE + AFTER))
    is_time, is_over = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        while plan:
            number = plan.popleft()
            text = f"text {number} {'ä' * (number % 3000)}"
            append = Append(folder.chats[number % len(folder.chats)], f"request {number}", text)
            folder.ledger.open.add(append)
            message_id, seq, _ = await client.append(append)
            folder.ledger.acknowledge(append, message_id, seq)
            if len(folder.ledger.answered) >= BEFORE:
                is_time.set()
            if not is_over.is_set():
                plan.append(number + BEFORE + AFTER)  # they go on until the backup is done

    workers = [asyncio.create_task(work()) for _ in range(WRITERS)]
    await asyncio.wait_for(is_time.wait(), 60)
    before = dict(folder.ledger.answered)
    done = await run("backup", str(target), "--with-secrets", "--data", str(folder.data))
    is_over.set()
    await asyncio.gather(*workers)
    listening.cancel()
    assert done.code == 0, done.err
    everything = folder.ledger.answered.keys()
    assert len(everything) > len(before), "nobody wrote meanwhile"
    return Ledger(before, set(everything) - before.keys())


def restore(backup: Path) -> Path:
    """A new data folder out of the backup alone."""
    data = backup.with_name("restored")
    data.mkdir(mode=0o700)
    shutil.copy(backup, data / "chatkeep.db")
    shutil.copytree(f"{backup}.secrets", data / "secrets")
    return data


async def assert_sound(data: Path) -> None:
    examined = await run("doctor", "--data", str(data), local_model="false")
    assert examined.code == 0, examined.out


async def assert_served(client: Client, told: Ledger) -> None:
    """The owner's old key reads what was told, the cut run says so, and one can go on."""
    for append, known in list(told.answered.items())[::50]:
        assert await client.append(append) == (known.message_id, known.seq, True)
    status, chat, _ = await client.ask("GET", "/chats/asked")
    assert (status, chat["status"], chat["messages"][0]["content"]) == (200, "error", QUESTION)
    body = {"messages": [{"role": "user", "content": "Are you there?"}]}
    status, _, _ = await client.ask("POST", "/chats/asked/messages", body)
    assert status == 201
