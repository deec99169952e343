"""`chatkeep backup`: a whole copy of the database in a new file, checked, also beside a server that is at work."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chatkeep.cli.options import Data
from chatkeep.cli.words import fail, note, show


def backup(
    dest: Annotated[Path, typer.Argument(help="The new file; one that is there is never overwritten.")],
    data: Data = None,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Copy the secrets too, into DEST.secrets.")
    ] = False,
) -> None:
    """Copy the database to a new file and check the copy; a table of the rows in it."""
    from chatkeep import wiring
    from chatkeep.cli.settings import read_settings
    from chatkeep.domain.errors import ChatkeepError
    from chatkeep.store.sqlite_backup import back_up

    settings = read_settings(data=data)
    if settings.database_url is not None:
        fail("This is for SQLite. How PostgreSQL is backed up is in docs/operations.md: pg_basebackup.")
    folder = settings.data.expanduser()
    source = folder / wiring.DATABASE
    if not source.is_file():
        fail(f"There is no database in {folder}. `chatkeep serve` makes one; --data says where it is.")
    try:
        made = back_up(source, dest, secrets=wiring.secrets_folder(settings) if with_secrets else None)
    except ChatkeepError as error:
        fail(str(error))
    except OSError as error:
        fail(
            f"The backup cannot be written: {error.filename or dest}: {(error.strerror or str(error)).lower()}."
        )
    show(("table", "rows"), ((table, str(count)) for table, count in made.rows.items()))
    note(
        f"{dest}: {made.size_bytes} bytes, copied in {made.copied_s:.2f} s, checked in {made.examined_s:.2f} s."
    )
    if not with_secrets:
        note("The secrets are not in it; without them no key and no session of today works (--with-secrets).")
