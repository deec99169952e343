"""`chatkeep doctor`: whether all that must be true of the kept chats is true; also beside a running server."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from chatkeep.cli.options import Data
from chatkeep.cli.words import show

if TYPE_CHECKING:
    from chatkeep.services.doctor import Finding

CANNOT_OPEN = 2
SHOWN_MAX = 20
COLUMNS = ("check", "result", "organisation", "chat", "finding")
Examined = Mapping[str, Sequence["Finding"]]


def doctor(
    data: Data = None,
    json: Annotated[bool, typer.Option("--json", help="Print all findings as one JSON object.")] = False,
) -> None:
    """Examine the data folder: counters, heads, trees, sequences, runs, leases, states, references, the file itself."""
    from chatkeep.cli.office import at_system
    from chatkeep.services.doctor import examine

    examined = at_system(examine, data, refusal_code=CANNOT_OPEN)
    if json:
        import orjson

        told = {check: [asdict(each) for each in findings] for check, findings in examined.items()}
        typer.echo(orjson.dumps({"is_sound": not any(examined.values()), "checks": told}))
    else:
        show(COLUMNS, _rows(examined))
    if any(examined.values()):
        raise typer.Exit(1)


def _rows(examined: Examined) -> Iterator[Sequence[str | None]]:
    for check, findings in examined.items():
        if not findings:
            yield check, "sound", None, None, None
        for each in findings[:SHOWN_MAX]:
            yield check, "wrong", each.organisation_id, each.chat_id, each.sentence
        if len(findings) > SHOWN_MAX:
            yield check, "wrong", None, None, f"and {len(findings) - SHOWN_MAX} more; --json has them all"
