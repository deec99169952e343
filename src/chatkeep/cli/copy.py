"""`chatkeep copy`: move everything from SQLite to PostgreSQL, or back, and prove that it arrived."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chatkeep.cli.words import fail, note, show

if TYPE_CHECKING:
    from chatkeep.store.copying import Compared, Source, Target, Tell

COLUMNS = ("table", "rows", "sha256", "result")
DIGEST_SHOWN = 12
SENSELESS, INTERRUPTED = 2, 130
AGAIN = "Run the same command again: it goes on where it was."
SecretsTo = Annotated[Path | None, typer.Option(help="Copy the secrets of the source into this new folder.")]


def copy(
    source: Annotated[str, typer.Argument(help="sqlite:FILE, or postgresql://USER@HOST/NAME.")],
    dest: Annotated[str, typer.Argument(help="The same, of the other kind; made or empty, or a copy begun.")],
    secrets_to: SecretsTo = None,
) -> None:
    """Copy everything from one database into another one, then compare both; a table of rows and hashes."""
    from chatkeep import wiring
    from chatkeep.cli.copy_progress import CopyProgress
    from chatkeep.cli.settings import read_settings
    from chatkeep.domain.errors import ChatkeepError, StoreBusy, StoreFull

    here, there = _file(source), _file(dest)
    if (here is None) == (there is None):
        fail("One of the two is sqlite:FILE, the other one postgresql://…: which is which?", code=SENSELESS)
    secrets = wiring.secrets_folder(read_settings(data=None if here is None else here.parent))
    if secrets_to is not None and secrets_to.exists():
        fail(f"{secrets_to} is there already, and nothing is overwritten.")
    if here is not None and not here.is_file():
        fail(f"There is no file {here}.")
    progress = CopyProgress()
    try:
        with ExitStack() as claims:
            for each in filter(None, (here, there)):
                if each.name == wiring.DATABASE:  # no other is served
                    claims.callback(os.close, wiring.claim_folder(each.parent))
            compared = asyncio.run(_copy((source, here), (dest, there), progress.tell))
    except KeyboardInterrupt:
        progress.end()
        note(f"chatkeep: ended by Ctrl-C. {AGAIN}")
        raise typer.Exit(INTERRUPTED) from None
    except (StoreBusy, StoreFull) as error:
        progress.end()
        fail(f"{error} {AGAIN}")
    except ChatkeepError as error:
        progress.end()
        fail(str(error))
    except OSError as error:
        progress.end()
        fail(f"{error.filename or here or there}: {(error.strerror or str(error)).lower()}. {AGAIN}")
    progress.end()
    _conclude(compared)
    _bring_secrets(secrets, secrets_to)


def _file(said: str) -> Path | None:
    """The file of `sqlite:FILE`; None for a PostgreSQL database."""
    if said.startswith("sqlite:") and said != "sqlite:":
        return Path(said.removeprefix("sqlite:")).expanduser().resolve()
    if not said.startswith(("postgresql://", "postgres://")):
        fail("A database is sqlite:FILE or postgresql://USER@HOST/NAME.", code=SENSELESS)
    return None


async def _copy(source: tuple[str, Path | None], dest: tuple[str, Path | None], tell: Tell) -> list[Compared]:
    from chatkeep.store.copying import copy as copy_all

    opened = await _source(*source)
    try:
        target = await _target(*dest)
        try:
            return await copy_all(opened, target, tell)
        finally:
            await target.close()
    finally:
        await opened.close()


async def _source(url: str, file: Path | None) -> Source:
    if file is None:
        from chatkeep.store.postgres_copying import open_postgres_source

        return await open_postgres_source(url)
    from chatkeep.store.sqlite_copying import open_sqlite_source

    return open_sqlite_source(file)


async def _target(url: str, file: Path | None) -> Target:
    if file is None:
        from chatkeep.store.postgres_copying import open_postgres_target

        return await open_postgres_target(url)
    from chatkeep.store.sqlite_copying import open_sqlite_target

    return open_sqlite_target(file)


def _conclude(compared: list[Compared]) -> None:
    show(
        COLUMNS,
        (
            (
                each.table,
                str(each.rows),
                each.digest[:DIGEST_SHOWN],
                "equal" if each.difference is None else "different",
            )
            for each in compared
        ),
    )
    different = [each for each in compared if each.difference is not None]
    for each in different:
        note(f"chatkeep: {each.table}: {each.difference}.")
    if different:
        fail("The copy is not equal to its source. Empty the target, or make a new one, and copy again.")


def _bring_secrets(secrets: Path, to: Path | None) -> None:
    from chatkeep.store.sqlite_backup import copy_secrets

    if to is None:
        note(f"The secrets are not in the database: every node needs those of the source ({secrets}),")
        note("in its data folder's `secrets` or where CHATKEEP_SECRETS says; else no key of today works.")
        return
    try:
        copied = copy_secrets(secrets, to)
    except OSError as error:
        fail(
            f"Everything was copied but the secrets: {error.filename}: {(error.strerror or str(error)).lower()}."
        )
    note(f"Copied {len(copied)} secrets into {to}: every node needs them (CHATKEEP_SECRETS).")
